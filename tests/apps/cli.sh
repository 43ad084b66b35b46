#!/bin/sh
# SPDX-License-Identifier: MIT
# The contract of the command line: help, exit codes, messages, JSON.
. "$(dirname "$0")/../support/apps.sh"

# ---- Without files ---------------------------------------------------------

check "--version" "$sotto" --version
check "help" "$sotto" help
for command in demo plan keygen encrypt infer decrypt train eval inspect \
    params; do
    "$sotto" $command --help >help.txt 2>err.txt
    status=$?
    if [ $status -eq 0 ] && grep -q "^usage: sotto $command" help.txt &&
        grep -q -e '--threads N' help.txt && grep -q -e '--quiet' help.txt &&
        grep -q -e '--json FILE' help.txt && [ ! -s err.txt ]; then
        pass "$command --help"
    else
        fail "$command --help" "exit $status: $(cat help.txt err.txt)"
    fi
done
"$sotto" help plan >a.txt
"$sotto" plan --help >b.txt
check "help COMMAND is COMMAND --help" cmp a.txt b.txt

refuses 2 'usage: sotto' "no command" "$sotto"
refuses 2 "'nosuch' is no command" "unknown command" "$sotto" nosuch
refuses 2 'sotto plan: wrong usage: MODEL is missing' "no operand" \
    "$sotto" plan -o x
refuses 2 '\-o FILE is missing' "no output" "$sotto" plan x
refuses 2 'unknown option --imagse, did you mean --images' "unknown option" \
    "$sotto" plan m.onnx --imagse 3 -o x
refuses 2 'out of range, expected 1 to 256' "value out of range" \
    "$sotto" params --threads 0
refuses 2 '128|192|256' "no such choice" "$sotto" plan m -o x --security 129
refuses 2 'one argument too many' "too many operands" "$sotto" params a
refuses 2 'exactly one of --key and --public-key' "no key" \
    "$sotto" encrypt p i -o x
refuses 2 'two outputs go to standard output' "two outputs in one place" \
    "$sotto" plan m.onnx -o - --json -
refuses 1 'sotto eval: .*nofile.*No such file' "missing file" \
    "$sotto" eval nofile.onnx x
refuses 1 'sotto plan: .*nofile' "missing model" \
    "$sotto" plan nofile.onnx -o x
[ -e x ] && fail "no output after an error" || pass "no output after an error"

# ---- Parameters ------------------------------------------------------------

"$sotto" params >out.txt
if [ "$(grep -c '' out.txt)" -eq 12 ] && grep -q '13 *8192 *214' out.txt; then
    pass "params lists the table"
else
    fail "params lists the table" "$(cat out.txt)"
fi
"$sotto" params --json - --quiet >out.json
check "params --json" grep -q '"max_log2_qp_128": 3523' out.json
"$sotto" params --log2-n 13 --bits 46,32,32 --special 47 --json p.json >set.txt
check "params checks a set" grep -q "^security *128 bits" set.txt
check "its JSON" grep -q '"security_bits": 128' p.json
refuses 1 'sotto params: .*128' "params refuses an insecure set" \
    "$sotto" params --log2-n 12 --bits 40,40,40
refuses 1 'sotto params: .*256' "params checks for 256 bits" \
    "$sotto" params --log2-n 13 --bits 46,32,32 --special 47 --security 256
refuses 2 'expected --log2-n and' "half a set" "$sotto" params --bits 40

# ---- Outputs ---------------------------------------------------------------

if [ -c /dev/full ]; then
    refuses 1 'No space left' "a full disk" "$sotto" params --json /dev/full
    "$sotto" params >/dev/full 2>err.txt
    status=$?
    if [ $status -eq 1 ] && grep -q 'standard output' err.txt; then
        pass "a full disk behind standard output"
    else
        fail "a full disk behind standard output" "exit $status"
    fi
else
    skip "a full disk" "no /dev/full"
fi
"$sotto" params --quiet >out.txt
[ -s out.txt ] && fail "--quiet" || pass "--quiet"

finish
