# SPDX-License-Identifier: MIT
# Reads results (JSON as bench and `sotto demo` write it, one member or object
# per line) and then one page, which it prints with fresh tables: tables.sh.

# ---- Results ----

function member(name,   at, text) {
    at = index($0, "\"" name "\": ")
    if (at == 0) return ""
    text = substr($0, at + length(name) + 4)
    if (sub(/^"/, "", text)) sub(/".*/, "", text)
    else sub(/[,}].*/, "", text)
    return text
}

# What tells measurements apart.
function key(name, backend, log2_n, limbs, bits, note, threads) {
    return name "|" backend "|" log2_n "|" limbs "|" bits "|" note "|" threads
}

function read_measurement(   k, i) {
    if (member("part") == "costs") return # beside predictions; measured before
    k = key(member("name"), member("backend"), member("log2_n"),
            member("limbs"), member("q_bits"), member("note"),
            member("threads"))
    for (i = 1; i <= n_fields; i++) m[k, field[i]] = member(field[i])
    if (member("name") == "core_cycle") {
        for (i = 1; i <= n_about; i++) about[about_field[i]] = member(about_field[i])
        cycle_ns = member("median_ns") / member("units")
    }
    if (member("name") == "infer" && member("threads") == 1) {
        part[++n_parts] = member("note")
        part_backend[n_parts] = member("backend")
    }
    if (member("part") == "hoisting") {
        hoist[++n_hoists] = k
        hoist_note[n_hoists] = member("note")
    }
}

# demo-MODEL-BACKEND.json: members of the object and of those in it.
function read_demo(   name, value) {
    if (FNR == 1) {
        demo = FILENAME
        sub(/.*demo-/, "", demo)
        sub(/\.json$/, "", demo)
    }
    if (match($0, /^ *"[a-z0-9_]+": /)) {
        name = substr($0, RSTART, RLENGTH)
        gsub(/[ ":]/, "", name)
        value = substr($0, RSTART + RLENGTH)
        gsub(/[",]/, "", value)
        d[demo, name] = value
    }
}

# ---- Cells ----

function none(x) {
    return x == ""
}

# Three digits.
function digits(x) {
    x += 0
    return sprintf(x < 9.995 ? "%.2f" : x < 99.95 ? "%.1f" : "%.0f", x)
}

function time_of(ns) {
    if (none(ns)) return "–"
    ns += 0
    if (ns < 1e3) return digits(ns) " ns"
    if (ns < 1e6) return digits(ns / 1e3) " µs"
    if (ns < 1e9) return digits(ns / 1e6) " ms"
    return digits(ns / 1e9) " s"
}

function bytes_of(x) {
    x += 0
    if (x == 0) return "–"
    if (x < 1048576) return sprintf("%.0f KiB", x / 1024)
    if (x < 10485760) return sprintf("%.1f MiB", x / 1048576)
    if (x < 1048576 * 900) return sprintf("%.0f MiB", x / 1048576)
    return sprintf("%.1f GiB", x / 1073741824)
}

# A measurement's time, "(7.9×)" its ratio, "(60 % ifma)" its part of the limit.
function cell(k, with_ratio, with_limit,   text) {
    text = time_of(m[k, "median_ns"])
    if (with_ratio && !none(m[k, "ratio_to_portable"]))
        text = text sprintf(" (%s×)", digits(m[k, "ratio_to_portable"]))
    if (with_limit && !none(m[k, "of_limit"]))
        text = text sprintf(", %.0f %% %s", 100 * m[k, "of_limit"], m[k, "limit"])
    return text
}

function backends(name, log2_n, limbs, bits, note, with_ratio, with_limit,
                  text, i) {
    text = ""
    for (i = 1; i <= 3; i++)
        text = text " | " cell(key(name, backend[i], log2_n, limbs, bits, note, 1),
                               with_ratio, with_limit)
    return text " |"
}

# ---- Tables ----

# Seconds of the demo on each backend.
function seconds(name, what,   text, i, x) {
    text = ""
    for (i = 1; i <= 3; i++) {
        x = d[name "-" backend[i], what]
        text = text (i > 1 ? " / " : "") (none(x) ? "–" : digits(x))
    }
    return text " s"
}

# The demo on the best backend that has results.
function best_of(name,   i) {
    for (i = 3; i >= 1; i--)
        if (!none(d[name "-" backend[i], "images"])) return name "-" backend[i]
    return name
}

function share(x, of) {
    return sprintf("%.2f %%", 100 * x / of)
}

function pair(b, one, two) {
    return sprintf("%.2g / %.2g", d[b, one], d[b, two])
}

function table_networks(   i, b, row) {
    print "| | CryptoNets (conv 5×5/2 – x² – 100 – x² – 10) | MLP 784-128-10 (x²) |"
    print "|---|---|---|"
    for (i = 1; i <= 2; i++) {
        b = best_of(network[i])
        row["parameters"] = row["parameters"] sprintf(" N = 2^%d, QP %.0f bits, %d-bit security |",
            d[b, "log2_n"], d[b, "log2_qp"], d[b, "security_bits"])
        row["accuracy"] = row["accuracy"] " " share(d[b, "correct_encrypted"], d[b, "images"]) \
            " / " share(d[b, "correct_plain"], d[b, "images"]) " |"
        row["labels"] = row["labels"] " " d[b, "label_differences"] " of " d[b, "images"] " |"
        row["he"] = row["he"] " " pair(b, "worst_he_error", "predicted_he_error") " |"
        row["all"] = row["all"] " " pair(b, "worst_logit_error", "predicted_logit_error") " |"
        row["encrypt"] = row["encrypt"] " " seconds(network[i], "encrypt") " |"
        row["infer"] = row["infer"] " " seconds(network[i], "infer") sprintf(" (%.0f µs an image) |",
            1e6 * d[b, "infer"] / d[b, "images"])
        row["decrypt"] = row["decrypt"] " " time_of(1e9 * d[b, "decrypt"]) " |"
        row["bytes"] = row["bytes"] " " bytes_of(d[b, "input"]) ", " bytes_of(d[b, "output"]) \
            ", " bytes_of(d[b, "eval_key"]) " |"
        row["memory"] = row["memory"] " " bytes_of(d[b, "peak_bytes"]) " |"
    }
    print "| parameters |" row["parameters"]
    print "| encrypted / plain accuracy |" row["accuracy"]
    print "| labels that differ |" row["labels"]
    print "| HE error, worst / predicted |" row["he"]
    print "| error with weight rounding, worst / predicted |" row["all"]
    print "| client: encrypt (portable / AVX2 / AVX-512) |" row["encrypt"]
    print "| **server (portable / AVX2 / AVX-512)** |" row["infer"]
    print "| client: decrypt |" row["decrypt"]
    print "| input, output, evaluation key |" row["bytes"]
    print "| peak memory |" row["memory"]
}

function mac(bits, shape,   text, i, k) {
    text = ""
    for (i = 1; i <= 3; i++) {
        k = key("gemm", backend[i], "", "", bits, shape, 1)
        text = text " | " (none(m[k, "cycles_per_unit"]) ? "–" : digits(1 / m[k, "cycles_per_unit"]))
    }
    return text " |"
}

function table_short(   i) {
    print "| | portable | AVX2 | AVX-512 IFMA |"
    print "|---|---|---|---|"
    print "| forward NTT, N = 8192, 46-bit modulus" \
        backends("ntt_forward", 13, 1, 46, "", 0, 0)
    print "| integer matrix 100×845 × residues, 46-bit modulus, MAC/cycle" mac(46, "100x845")
    for (i = 13; i <= 16; i++)
        print "| rotation, N = " 2 ^ i ", " limbs[i] " limbs, dnum 3" \
            backends("rotate", i, limbs[i], "", "", 0, 0)
    print "| multiply, relinearise, rescale, N = 8192, 5 limbs" \
        backends("multiply_relinearise_rescale", 13, 5, "", "", 0, 0)
    print "| symmetric encryption, N = 8192, 5 limbs" \
        backends("encrypt", 13, 5, "", "", 0, 0)
}

function table_environment(   k) {
    printf "| processor | %s, %d cores; %.2f GHz by a chain of additions |\n",
        about["cpu"], about["processors"], 1 / cycle_ns
    print "|---|---|"
    print "| compiler | " about["compiler"] ", `" about["flags"] "` |"
    print "| commit, load at the start | " about["commit"] ", " about["load"] " |"
    printf "| reading, L1 / L2 / L3 / DRAM |"
    for (k = 1; k <= 4; k++)
        printf " %.0f%s", m[key("read_" level[k], "any", "", "", "", "", 1), "gb_per_s"],
            k < 4 ? " /" : " GB/s |\n"
    print "| products per cycle: 64-bit, double (AVX2), 52-bit half (IFMA) | " \
        per_cycle("mul64") ", " per_cycle("fma_avx2") ", " per_cycle("ifma") " |"
    print "| 16-bit products summed per cycle: AVX2, AVX-512 | " \
        per_cycle("words_avx2") ", " per_cycle("words_avx512") " |"
}

function per_cycle(name,   k) {
    k = key(name, "any", "", "", "", "", 1)
    return none(m[k, "cycles_per_unit"]) ? "–" : digits(1 / m[k, "cycles_per_unit"])
}

function table_kernels(   i, j, n, list, item) {
    print "| | portable | AVX2 | AVX-512 IFMA |"
    print "|---|---|---|---|"
    for (i = 12; i <= 16; i++)
        print "| ntt_forward, N = 2^" i ", 46 bits" backends("ntt_forward", i, 1, 46, "", 1, 1)
    print "| ntt_forward, N = 2^13, 50 bits" backends("ntt_forward", 13, 1, 50, "", 1, 1)
    print "| ntt_inverse, N = 2^13, 46 bits" backends("ntt_inverse", 13, 1, 46, "", 1, 1)
    n = split("add:;multiply:;multiply_add:;scalar_multiply_add:;sub_scalar_multiply:;" \
              "inner_product:1 digit;inner_product:3 digits;inner_product:6 digits;" \
              "base_conversion:1 source;base_conversion:3 sources;base_conversion:6 sources;" \
              "permute:;stream:ChaCha20", list, ";")
    for (i = 1; i <= n; i++) {
        split(list[i], item, ":")
        print "| " item[1] (item[2] != "" ? ", " item[2] : "") \
            backends(item[1], 13, 1, 46, item[2], 1, 1)
    }
}

function table_gemm(   i, j, s, k) {
    print "| | backend | MAC/cycle | part of limit | to the plain loop | to its own loop |"
    print "|---|---|---|---|---|---|"
    for (s = 1; s <= 2; s++)
        for (j = 32; j <= 50; j++)
            for (i = 1; i <= 3; i++) {
                k = key("gemm", backend[i], "", "", j, shape[s], 1)
                if (none(m[k, "median_ns"])) continue
                printf "| %s, %d bits | %s | %s | %s | %s× | %s× |\n", shape[s], j,
                    backend[i], digits(1 / m[k, "cycles_per_unit"]),
                    none(m[k, "of_limit"]) ? "–" : sprintf("%.0f %%", 100 * m[k, "of_limit"]),
                    digits(m[k, "ratio_to_plain_loop"]), digits(m[k, "ratio_to_own_loop"])
            }
}

function table_operations(   n, list, i, j, best, text, l) {
    print "| | N = 8192, 5 limbs | 16384, 9 | 32768, 18 | 65536, 36 |"
    print "|---|---|---|---|---|"
    n = split("encode encrypt decrypt decrypt-2 add multiply_plain " \
              "multiply_relinearise_rescale relinearise rotate conjugate rescale " \
              "make_switch_key serialise deserialise", list, " ")
    for (i = 1; i <= n; i++) {
        text = "| " list[i]
        l = 0
        if (sub(/-2$/, "", list[i])) {
            l = 2
            text = "| " list[i] ", 2 limbs left"
        }
        for (j = 13; j <= 16; j++) {
            for (best = 3; best > 1; best--)
                if (!none(m[key(list[i], backend[best], j, l ? l : limbs[j], "", "", 1), "median_ns"]))
                    break
            text = text " | " cell(key(list[i], backend[best], j, l ? l : limbs[j], "", "", 1), 1, 0)
        }
        print text " |"
    }
}

function times(ratio) {
    return none(ratio) ? "–" : digits(ratio) "×"
}

function two(name, note, b, label,   one, both) {
    one = key(name, b, "", "", "", note, 1)
    both = key(name, b, "", "", "", note, 2)
    print "| " label " | " time_of(m[one, "median_ns"]) " | " time_of(m[both, "median_ns"]) \
        " | " times(m[both, "ratio_to_one_thread"]) " |"
}

function table_steps(   i, j, b) {
    print "| | 1 thread | 2 threads | gain |"
    print "|---|---|---|---|"
    b = part_backend[1]
    for (i = 1; i <= 2; i++) {
        two("network_keygen", network[i], b, "**" network[i] "**: keygen")
        two("network_encrypt", network[i], b, "encrypt")
        two("network_infer", network[i], b, "infer")
        two("network_infer", network[i] " cold", b, "infer, the first time")
        for (j = 1; j <= n_parts; j++)
            if (index(part[j], network[i] " ") == 1)
                two("infer", part[j], b, "infer: " substr(part[j], length(network[i]) + 2))
        two("network_decrypt", network[i], b, "decrypt")
    }
    two("network_train", "cryptonets epoch 4000", "any", "train, one epoch of 4000 images")
}

function table_hoisting(   i, k) {
    print "| | time | to one by one |"
    print "|---|---|---|"
    for (i = 1; i <= n_hoists; i++) {
        k = hoist[i]
        print "| " hoist_note[i] " | " time_of(m[k, "median_ns"]) " | " times(m[k, "ratio_to_one_by_one"]) " |"
    }
}

function table(name) {
    if (name == "networks") table_networks()
    else if (name == "short") table_short()
    else if (name == "environment") table_environment()
    else if (name == "kernels") table_kernels()
    else if (name == "gemm") table_gemm()
    else if (name == "operations") table_operations()
    else if (name == "steps") table_steps()
    else if (name == "hoisting") table_hoisting()
    else {
        print FILENAME ":" FNR ": no table " name >"/dev/stderr"
        failed = 1
    }
}

# ---- Files ----

BEGIN {
    n_fields = split("median_ns cycles_per_unit gb_per_s limit of_limit " \
                     "ratio_to_portable ratio_to_plain_loop ratio_to_own_loop " \
                     "ratio_to_one_thread ratio_to_one_by_one", field, " ")
    n_about = split("cpu processors load compiler flags commit", about_field, " ")
    split("portable avx2 ifma", backend, " ")
    split("cryptonets mlp", network, " ")
    split("l1 l2 l3 dram", level, " ")
    split("100x845 5x25", shape, " ")
    limbs[13] = 5
    limbs[14] = 9
    limbs[15] = 18
    limbs[16] = 36
}
FILENAME ~ /demo-[^\/]*\.json$/ { read_demo(); next }
FILENAME ~ /\.json$/ { if (/"median_ns"/) read_measurement(); next }
/^<!-- end of table -->/ { inside = 0 }
!inside { print }
/^<!-- table: [a-z]+ -->/ { inside = 1; table($3) }
END {
    if (inside) {
        print FILENAME ": a table has no end" >"/dev/stderr"
        failed = 1
    }
    exit failed
}
