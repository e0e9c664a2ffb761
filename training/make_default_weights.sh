#!/usr/bin/env bash
# Default weights from nothing but a people pack: render people, train, evaluate, store. Each part goes on
# where it was stopped, so the same command runs in slices of MINUTES until it says that it is done.
#
#   ASSETS=people_assets WORK=runs/default training/make_default_weights.sh
#
# Optional: PEOPLE, SEEN_BY, FRAMES (of the rendered set), SEED, CONFIG (a recipe), NAME, MINUTES (of training),
# RENDER_MINUTES, INIT (torchvision's ResNet-50 of ImageNet, or part of it), INIT_FROM (a checkpoint), TEACHER
# (an OpenVINO re-ID .xml; trains with configs/train_distilled.yaml), MARKET (a folder to evaluate on), PYTHON.
set -euo pipefail
: "${ASSETS:?the folder of the people pack}" "${WORK:?a folder to work in}"
python=${PYTHON:-python3}
name=${NAME:-ste_nvan_r50_synthetic}
config=${CONFIG:-configs/train.yaml}
beginning=()
teacher=()
[[ -z ${INIT:-} ]] || beginning=(--init "$INIT")
[[ -z ${INIT_FROM:-} ]] || beginning=(--init-from "$INIT_FROM")
if [[ -n ${TEACHER:-} ]]; then
  name=${NAME:-ste_nvan_r50_distilled}
  config=${CONFIG:-configs/train_distilled.yaml}
  teacher=(--teacher openvino_reid --teacher-weights "$TEACHER")
fi
run() { "$python" run_pipeline.py "$@"; }

run synthesize tracklets --assets "$ASSETS" --output "$WORK/tracklets" --people "${PEOPLE:-6000}" \
  --seen-by "${SEEN_BY:-6}" --frames "${FRAMES:-8}" --seed "${SEED:-7}" \
  ${RENDER_MINUTES:+--minutes "$RENDER_MINUTES"}
run train --data "synthetic=$WORK/tracklets" --cache "$WORK/cache" --output "$WORK/$name" --config "$config" \
  ${MINUTES:+--minutes "$MINUTES"} "${beginning[@]}" "${teacher[@]}"
run weights store "$WORK/$name/model.safetensors" --output "$WORK/$name.safetensors" --storage int8
if [[ -n ${MARKET:-} ]]; then
  run evaluate --dataset market1501 --root "$MARKET" --weights "$WORK/$name.safetensors" \
    --output "$WORK/$name.market1501.json"
fi
echo "done: $WORK/$name.safetensors"
