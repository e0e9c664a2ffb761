#!/usr/bin/env bash
# Default weights from nothing but a people pack: render people, train, store, evaluate. Each part goes on
# where it was stopped, so the same command runs in slices: it ends with exit code 75 when the time of one is up.
#
#   ASSETS=people_assets WORK=out/default training/make_default_weights.sh [options of `train`]
#
# Optional: PEOPLE, SEEN_BY, FRAMES (of the rendered set), SEED, CONFIG (a recipe), NAME, MINUTES (of training),
# RENDER_MINUTES, INIT (torchvision's ResNet-50 of ImageNet, or part of it), INIT_FROM (a checkpoint), TEACHER
# (an OpenVINO re-ID .xml; trains with configs/train_distilled.yaml), MARKET (a folder to evaluate on), PYTHON.
# For a machine that takes and gives files of a limited size: PIECES (what the names of the pieces of a .tar.gz of
# the people pack begin with; ASSETS is unpacked from them) and RESULTS (a folder for the weights, in two halves,
# and the logs; a slice that ends early leaves its weights there as well).
set -euo pipefail
: "${ASSETS:?the folder of the people pack}" "${WORK:?a folder to work in}"
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
name=${NAME:-synthetic} # not that of a card: a file of that name must be the card's
config=${CONFIG:-$root/configs/train.yaml}
beginning=()
teacher=()
[[ -z ${INIT:-} ]] || beginning=(--init "$INIT")
[[ -z ${INIT_FROM:-} ]] || beginning=(--init-from "$INIT_FROM")
if [[ -n ${TEACHER:-} ]]; then
  name=${NAME:-distilled}
  config=${CONFIG:-$root/configs/train_distilled.yaml}
  teacher=(--teacher openvino_reid --teacher-weights "$TEACHER")
fi
run() { "$python" "$root/run_pipeline.py" "$@"; }

if [[ -n ${PIECES:-} && ! -d $ASSETS ]]; then
  rm -rf "$ASSETS.part"
  mkdir -p "$ASSETS.part"
  cat "$PIECES"* | tar -xz -C "$ASSETS.part"
  mv "$ASSETS.part" "$ASSETS"
fi

run synthesize tracklets --assets "$ASSETS" --output "$WORK/tracklets" --people "${PEOPLE:-6000}" \
  --seen-by "${SEEN_BY:-6}" --frames "${FRAMES:-8}" --seed "${SEED:-7}" \
  ${RENDER_MINUTES:+--minutes "$RENDER_MINUTES"}

trained=0
run train --data "synthetic=$WORK/tracklets" --cache "$WORK/cache" --output "$WORK/$name" --config "$config" \
  ${MINUTES:+--minutes "$MINUTES"} "${beginning[@]}" "${teacher[@]}" "$@" || trained=$?
[[ $trained == 0 || ($trained == 75 && -n ${RESULTS:-}) ]] || exit "$trained"

run weights store "$WORK/$name/model.safetensors" --output "$WORK/$name.safetensors" --storage int8
if [[ $trained == 0 && -n ${MARKET:-} ]]; then
  run evaluate --dataset market1501 --root "$MARKET" --weights "$WORK/$name.safetensors" \
    --output "$WORK/$name.market1501.json"
fi
if [[ -n ${RESULTS:-} ]]; then
  mkdir -p "$RESULTS"
  split -n 2 -d "$WORK/$name.safetensors" "$RESULTS/$name.safetensors."
  cp "$WORK/$name/log.csv" "$RESULTS/$name.log.csv"
  [[ ! -e $WORK/$name.market1501.json ]] || cp "$WORK/$name.market1501.json" "$RESULTS"
fi
[[ $trained == 0 ]] || exit "$trained"
echo "done: $WORK/$name.safetensors"
