/* SPDX-License-Identifier: MIT
 * sotto: encrypted CNN inference on the command line.
 *
 * Finds the command, reads its options, runs it, and turns what it returns into
 * an exit code: 0 success, 2 wrong usage, 1 anything else.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "apps/sotto/app.h"
#include "apps/sotto/commands.h"
#include "base/mem.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* In the order of one inference, then the rest. */
static const app_command *const commands[] = {
    &cmd_demo,    &cmd_plan,  &cmd_keygen, &cmd_encrypt, &cmd_infer,
    &cmd_decrypt, &cmd_train, &cmd_eval,   &cmd_inspect, &cmd_params};

#define N_COMMANDS (sizeof commands / sizeof commands[0])

static const opt_spec common_options[] = {
    {"--threads", OPT_COUNT, offsetof(app_common, threads), "N",
     "work on N threads (default: one for each processor)", 1, 256, false},
    {"--quiet", OPT_FLAG, offsetof(app_common, quiet), NULL,
     "errors and warnings only", 0, 0, false},
    {"--json", OPT_TEXT, offsetof(app_common, json), "FILE",
     "write the results as JSON", 0, 0, false},
    {"--help", OPT_FLAG, offsetof(app_common, help), NULL, "this text", 0, 0,
     false}};

static const opt_table common_table = {.option = common_options,
                                       .n_options = sizeof common_options /
                                                    sizeof common_options[0]};

/* Set by a signal, read by whatever takes long. A signal handler can reach
 * nothing but a global. */
static atomic_bool stop_wanted;
static volatile sig_atomic_t stop_signal;

/* The signal handler: nothing but two stores, which is all that is safe there.
 */
static void stop(int signal_number)
{
    stop_signal = signal_number;
    atomic_store(&stop_wanted, true);
}

/* The first signal asks to stop, the second ends the program at once. A closed
 * pipe and a file that grows too large are errors of the write. */
static void install_signals(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    (void)sigemptyset(&action.sa_mask);
    action.sa_handler = stop;
    action.sa_flags = SA_RESTART | (int)SA_RESETHAND;
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGHUP, &action, NULL);
    action.sa_handler = SIG_IGN;
    action.sa_flags = 0;
    (void)sigaction(SIGPIPE, &action, NULL);
    (void)sigaction(SIGXFSZ, &action, NULL);
}

/* What the program can do. */
static void list_commands(FILE *out)
{
    (void)fprintf(out, "sotto " APP_VERSION ": encrypted CNN inference\n\n"
                       "usage: sotto COMMAND ...\n\n");
    for (size_t k = 0; k < N_COMMANDS; k++) {
        (void)fprintf(out, "  %-9s %s\n", commands[k]->name,
                      commands[k]->summary);
    }
    (void)fprintf(out,
                  "\nsotto COMMAND --help tells more. One inference, step by "
                  "step:\n\n"
                  "  owner   sotto plan model.onnx --images 10000 -o m.plan\n"
                  "  client  sotto keygen m.plan -o client/\n"
                  "  client  sotto encrypt m.plan --key client/secret.key "
                  "IMAGES -o images.ct\n"
                  "  server  sotto infer m.plan model.onnx --keys eval.key "
                  "images.ct -o scores.ct\n"
                  "  client  sotto decrypt m.plan --key client/secret.key "
                  "scores.ct\n");
}

/* The help of one command, from its table. */
static void help_command(const app_command *command)
{
    text_out out;
    text_init(&out);
    text_printf(&out, "usage: sotto %s", command->name);
    opt_usage(&out, &command->table);
    text_printf(&out, "\n\n%s.\n", command->summary);
    text_printf(&out, "%s\n", command->details);
    opt_help(&out, &command->table);
    opt_help(&out, &common_table);
    (void)fwrite(out.buffer, 1, out.fill, stdout);
}

/* The command called name, or NULL. */
static const app_command *find_command(const char *name)
{
    for (size_t k = 0; k < N_COMMANDS; k++) {
        if (strcmp(commands[k]->name, name) == 0) {
            return commands[k];
        }
    }
    return NULL;
}

/* Parses the options and runs the command. */
static sotto_status run(app_state *app, const app_command *command,
                        void *values, const char **argument, size_t n,
                        sotto_error *err)
{
    const opt_table tables[2] = {common_table, command->table};
    const sotto_status status = opt_parse(values, tables, 2, argument, n, err);
    if (status != SOTTO_OK) {
        app->usage_error = true;
        return sotto_fail_prefix(err, status, "wrong usage");
    }
    const app_common *common = values;
    app->quiet = common->quiet;
    app->bar = !common->quiet && isatty(STDERR_FILENO);
    SOTTO_TRY(app_claim_output(app, common->json, err));
    app->pool = sotto_pool_new((int)common->threads);
    if (app->pool == NULL) {
        return sotto_fail(err, SOTTO_ERR_MEMORY,
                          "the threads cannot be started, expected memory for "
                          "them; give a smaller --threads");
    }
    return command->run(app, values, err);
}

/* Runs a command and turns its status into an exit code. */
static int run_command(const app_command *command, const char **argument,
                       size_t n)
{
    if (opt_wants_help(argument, n)) {
        help_command(command);
        return EXIT_OK;
    }
    app_state app = {.command = command->name,
                     .cancel = &stop_wanted,
                     .cancel_signal = &stop_signal};
    sotto_error err = {{0}};
    void *values = sotto_calloc(1, command->values_bytes);
    sotto_status status =
        values == NULL ? sotto_fail(&err, SOTTO_ERR_MEMORY, "out of memory")
                       : run(&app, command, values, argument, n, &err);
    app_progress_end(&app);
    sotto_pool_free(app.pool);
    sotto_free(values);
    if (status == SOTTO_OK && (fflush(stdout) != 0 || ferror(stdout) != 0)) {
        status =
            sotto_fail(&err, SOTTO_ERR_IO, "standard output cannot be written");
    }
    if (status == SOTTO_OK) {
        return EXIT_OK;
    }
    (void)fprintf(stderr, "sotto %s: %s\n", command->name, err.text);
    if (app.usage_error) {
        (void)fprintf(stderr, "see: sotto %s --help\n", command->name);
    }
    return app.usage_error ? EXIT_USAGE : EXIT_FAILED;
}

int main(int argc, char **argv)
{
    install_signals();
    if (argc < 2) {
        list_commands(stderr);
        return EXIT_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--version") == 0) {
        (void)puts("sotto " APP_VERSION);
        return EXIT_OK;
    }
    const bool help = strcmp(name, "help") == 0 ||
                      strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0;
    if (help && argc < 3) {
        list_commands(stdout);
        return EXIT_OK;
    }
    const app_command *command = find_command(help ? argv[2] : name);
    if (command == NULL) {
        (void)fprintf(stderr,
                      "sotto: '%.60s' is no command, expected one of those "
                      "that sotto help lists\n",
                      help ? argv[2] : name);
        return EXIT_USAGE;
    }
    if (help) {
        help_command(command);
        return EXIT_OK;
    }
    return run_command(command, (const char **)(argv + 2), (size_t)argc - 2);
}
