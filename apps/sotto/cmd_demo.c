/* SPDX-License-Identifier: MIT
 * sotto demo: one encrypted inference on real images, every step shown.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apps/sotto/demo.h"
#include "base/mem.h"

#define DEFAULT_MODEL "models/cryptonets-mnist.onnx"
#define DEFAULT_DATA "data/mnist"
#define DEFAULT_REPORT "demo-report.html"
#define DEFAULT_IMAGES 10000

/* ---- Folders ------------------------------------------------------------- */

/* folder/name, refusing what is too long. */
static sotto_status join(char *out, const char *folder, const char *name,
                         sotto_error *err)
{
    const int n = snprintf(out, DEMO_PATH_BYTES, "%s/%s", folder, name);
    if (n < 0 || n >= DEMO_PATH_BYTES) {
        return sotto_fail(err, SOTTO_ERR_IO,
                          "the name of the folder %.100s is too long, expected "
                          "fewer than %d bytes",
                          folder, DEMO_PATH_BYTES);
    }
    return SOTTO_OK;
}

/* The names of all files; the root is known. */
static sotto_status name_paths(demo_paths *p, const char *data,
                               sotto_error *err)
{
    SOTTO_TRY(join(p->client, p->root, "client", err));
    SOTTO_TRY(join(p->server, p->root, "server", err));
    SOTTO_TRY(join(p->plan, p->root, "model.plan", err));
    SOTTO_TRY(join(p->secret_key, p->client, "secret.key", err));
    SOTTO_TRY(join(p->eval_key_made, p->client, "eval.key", err));
    SOTTO_TRY(join(p->eval_key, p->server, "eval.key", err));
    SOTTO_TRY(join(p->input, p->server, "images.ct", err));
    SOTTO_TRY(join(p->output, p->server, "scores.ct", err));
    SOTTO_TRY(join(p->image_file, data, "t10k-images-idx3-ubyte", err));
    return join(p->label_file, data, "t10k-labels-idx1-ubyte", err);
}

/* Makes the temporary folder; root is empty when there is none. */
static sotto_status make_folders(demo_paths *p, const char *data,
                                 sotto_error *err)
{
    const char *temp = getenv("TMPDIR");
    SOTTO_TRY(join(p->root, temp != NULL && *temp != '\0' ? temp : "/tmp",
                   "sotto-demo-XXXXXX", err));
    if (mkdtemp(p->root) == NULL) {
        const int reason = errno;
        (void)sotto_fail(err, SOTTO_ERR_IO,
                         "the temporary folder %s cannot be made: %s; set "
                         "TMPDIR to a folder that can be written",
                         p->root, strerror(reason));
        p->root[0] = '\0';
        return SOTTO_ERR_IO;
    }
    SOTTO_TRY(name_paths(p, data, err));
    if (mkdir(p->client, 0700) != 0 || mkdir(p->server, 0700) != 0) {
        return sotto_fail(err, SOTTO_ERR_IO, "folders in %s cannot be made: %s",
                          p->root, strerror(errno));
    }
    return SOTTO_OK;
}

/* Removes a folder with its files (no folders inside). */
static void remove_folder(const char *path)
{
    DIR *folder = opendir(path);
    if (folder != NULL) {
        const struct dirent *entry;
        while ((entry = readdir(folder)) != NULL) {
            (void)unlinkat(dirfd(folder), entry->d_name, 0);
        }
        (void)closedir(folder);
    }
    (void)rmdir(path);
}

static void remove_folders(const demo_paths *p)
{
    if (p->root[0] != '\0') {
        remove_folder(p->client);
        remove_folder(p->server);
        remove_folder(p->root);
    }
}

/* ---- The demo ------------------------------------------------------------ */

sotto_status demo_load(demo *d, sotto_error *err)
{
    const char *path = d->paths.image_file;
    nn_images *images = NULL;
    const sotto_status opened = nn_images_open(&images, &path, 1, err);
    if (opened != SOTTO_OK) {
        return sotto_fail_prefix(
            err, opened,
            "the test images (run it in Sotto's folder, or give --data)");
    }
    d->shape = nn_images_shape(images);
    d->n_pixels = nn_image_pixels(d->shape);
    sotto_status status = SOTTO_OK;
    if (d->n > nn_images_count(images)) {
        status = sotto_fail(err, SOTTO_ERR_PARAM,
                            "%" PRIu64 " images are wanted, expected at most "
                            "%" PRIu64 ", as many as %s holds",
                            d->n, nn_images_count(images), path);
    } else {
        d->pixels = sotto_calloc((size_t)d->n, d->n_pixels);
        status = d->pixels != NULL
                     ? nn_images_read_bytes(images, d->pixels, NULL, 0,
                                            (size_t)d->n, err)
                     : sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory");
    }
    nn_images_close(images);
    SOTTO_TRY(status);
    return load_labels(&d->labels, d->paths.label_file, 0, d->n, err);
}

void demo_json(json_out *j, const demo *d)
{
    const show_parameters p = show_parameters_of(d->context);
    json_string(j, "model", d->model_path);
    json_count(j, "images", d->n);
    json_count(j, "correct_plain", d->correct_plain);
    json_count(j, "correct_encrypted", d->correct_encrypted);
    json_count(j, "label_differences", d->label_differences);
    json_real(j, "worst_logit_error", d->total.worst);
    json_real(j, "predicted_logit_error", d->total.predicted);
    json_real(j, "worst_he_error", d->he.worst);
    json_real(j, "predicted_he_error", d->he.predicted);
    json_real(j, "worst_rounding_error", d->rounding.worst);
    json_real(j, "predicted_rounding_error", d->rounding.predicted);
    json_int(j, "log2_n", d->plan->params.log2_n);
    json_real(j, "log2_qp", p.log2_qp);
    json_int(j, "security_bits", p.security);
    json_string(j, "backend", p.backend);
    json_string(j, "packing", show_packing(d->plan->packing));
    json_int(j, "keys", d->plan->n_keys);
    json_int(j, "threads", sotto_pool_threads(d->app->pool));
    json_object(j, "seconds");
    json_real(j, "plan", d->plan_seconds);
    json_real(j, "keygen", d->keygen.seconds);
    json_real(j, "encrypt", d->encrypt.seconds);
    json_real(j, "infer", d->infer_seconds);
    json_real(j, "infer_setup", demo_setup_seconds(d));
    json_real(j, "infer_per_image", demo_image_seconds(d));
    json_real(j, "infer_one_core_predicted", d->trace->predicted_total);
    json_real(j, "decrypt", d->decrypt.seconds);
    json_real(j, "total", d->total_seconds);
    json_end(j);
    json_object(j, "bytes");
    json_count(j, "secret_key", d->keygen.secret_bytes);
    json_count(j, "eval_key", d->keygen.eval_bytes);
    json_count(j, "input", d->encrypt.bytes);
    json_count(j, "output", d->output_bytes);
    json_end(j);
    json_count(j, "peak_bytes", sotto_peak_bytes());
}

static sotto_status write_json(const demo *d, sotto_error *err)
{
    app_json file;
    SOTTO_TRY(app_json_open(&file, d->options->common.json, err));
    if (file.open) {
        demo_json(&file.j, d);
    }
    return app_json_close(&file, err);
}

/* Everything in its order: load, run, compare, show, report. */
static sotto_status run_demo(demo *d, sotto_error *err)
{
    const double start = app_seconds();
    const char *report =
        d->options->report != NULL ? d->options->report : DEFAULT_REPORT;
    SOTTO_TRY(make_folders(
        &d->paths, d->options->data != NULL ? d->options->data : DEFAULT_DATA,
        err));
    SOTTO_TRY(demo_load(d, err));
    app_say(d->app,
            "%" PRIu64 " handwritten digit%s, a network that never sees "
            "%s: %s",
            d->n, d->n == 1 ? "" : "s", d->n == 1 ? "it" : "them",
            d->model_path);
    SOTTO_TRY(demo_steps(d, err));
    SOTTO_TRY(demo_compare(d, err));
    d->total_seconds = app_seconds() - start;
    demo_show(d);
    SOTTO_TRY(demo_report(d, report, err));
    app_say(d->app, "\nreport      %s", report);
    return write_json(d, err);
}

/* Frees everything and removes the folders, whatever was reached. */
static void clear_demo(demo *d)
{
    remove_folders(&d->paths);
    sotto_free(d->plan);
    rlwe_context_free(d->context);
    sotto_free(d->trace);
    sotto_free(d->pixels);
    sotto_free(d->labels);
    sotto_free(d->encrypted);
    sotto_free(d->rounded);
    sotto_free(d->exact);
    sotto_free(d);
}

static sotto_status run(app_state *app, void *values, sotto_error *err)
{
    const demo_options *options = values;
    SOTTO_TRY(app_claim_output(app, options->report, err));
    demo *d = sotto_calloc(1, sizeof *d);
    if (d == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY, "out of memory");
    }
    d->app = app;
    d->options = options;
    d->model_path = options->model != NULL ? options->model : DEFAULT_MODEL;
    d->n = options->images > 0 ? options->images : DEFAULT_IMAGES;
    const sotto_status status = run_demo(d, err);
    clear_demo(d);
    return status;
}

static const opt_spec specs[] = {
    {"--images", OPT_COUNT, offsetof(demo_options, images), "N",
     "the first N test images (default 10000)", 1, 1000000, false},
    {"--model", OPT_TEXT, offsetof(demo_options, model), "FILE",
     "model to run (default " DEFAULT_MODEL ")", 0, 0, false},
    {"--data", OPT_TEXT, offsetof(demo_options, data), "FOLDER",
     "where the test images are (default " DEFAULT_DATA ")", 0, 0, false},
    {"--report", OPT_TEXT, offsetof(demo_options, report), "FILE",
     "write the page to FILE (default " DEFAULT_REPORT ")", 0, 0, false}};

const app_command cmd_demo = {
    "demo",
    "encrypt, infer and decrypt real MNIST digits",
    "Plan, keys, encryption, inference and decryption run one after the other\n"
    "through files in a temporary folder, as the commands would; the server's\n"
    "step gets no secret. Then everything is compared with the plain "
    "network.\n",
    {specs, sizeof specs / sizeof specs[0], NULL, 0},
    sizeof(demo_options),
    run};
