#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What `make demo` shows: a small GPT-2 learns a generated language whose best possible loss is known, first with fused
# attention, then with eager attention, on the same rows in the same order; and which implementation ran, and why.
# HEED_DEMO_STEPS (800) makes it shorter or longer; runs/demo-* are written anew each time.
set -eu
cd "$(dirname "$0")/.."
heed=${HEED_BUILD:-build}/heed
steps=${HEED_DEMO_STEPS:-800}
runs=${HEED_DEMO_RUNS:-runs}
begin=$SECONDS

value() { # FILE KEY: a number or string of a JSON object that heed wrote
    sed -nE "s/^ *\"$2\": *\"?([^\",]*)\"?,?\$/\1/p" "$1" | head -1
}
learn() { # NAME: one run into runs/demo-NAME
    echo
    echo "== gpt2-nano (4 layers, 4 heads, width 128) with --attn_implementation $1"
    "$heed" train --model gpt2-nano --dataset demo --padding_side left --attn_implementation "$1" \
        --batch_size 16 --max_steps "$steps" --learning_rate 4e-3 --lr_scheduler_type cosine --warmup_ratio 0.05 \
        --eval_on_start --eval_strategy steps --eval_steps $((steps / 4 > 0 ? steps / 4 : 1)) \
        --logging_steps $((steps / 8 > 0 ? steps / 8 : 1)) --save_strategy no --output_dir "$runs/demo-$1" --overwrite
}

echo "The demo language has agreement over long distances, copying and brackets: a model must attend to learn it."
echo "Its entropy is computed exactly, so the floor below is the loss that no model can beat."
learn flash_attention_2
learn eager

echo
echo "== side by side"
printf '%-18s %-10s %12s %12s %12s %12s\n' requested ran "eval loss" floor "bits/byte" "tokens/s"
for name in flash_attention_2 eager; do
    metrics=$runs/demo-$name/final_metrics.json
    printf '%-18s %-10s %12.4f %12.4f %12.4f %12.0f\n' "$name" "$(value "$metrics" actual)" "$(value "$metrics" eval_loss)" \
        "$(value "$metrics" floor)" "$(value "$metrics" bits_per_byte)" "$(value "$metrics" tokens_per_second)"
done
problem=$(value "$runs/demo-flash_attention_2/attention.json" problem)
echo
echo "Rows were padded on the left and every loss is finite: a query that sees nothing but padding gives zero, not NaN."
echo "(heed doctor nan shows the operator that got this wrong.)"
echo
echo "== who could have run this problem, and why this one did: heed explain \"$problem\""
"$heed" explain "$problem"
echo
echo "$((SECONDS - begin)) s. Your own text: $heed train --dataset your.txt --use_packing --max_steps 2000 --learning_rate 1e-3"
