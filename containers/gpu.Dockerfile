# The encoders: embeds images and texts. The torch wheels bring their CUDA libraries, the host brings the driver.
#
#     docker build -f containers/gpu.Dockerfile -t clipsieve-gpu .
#     docker run --gpus all clipsieve-gpu clipsieve embed --help
#     apptainer build clipsieve-gpu.sif docker-daemon://clipsieve-gpu:latest       # then: apptainer exec --nv
#
# With `--build-arg EXTRAS=[embed,workflow]` Snakemake is in it too, as executors without a shared file system need it.
# A driver too old for this torch's CUDA: put an older torch and torchvision, 2.4 at least, into requirements.lock.
FROM python:3.11-slim-bookworm

ARG EXTRAS="[embed]"

# No bytecode in a read-only image, caches where any user may write, and weights only from folders that are mounted.
ENV PYTHONDONTWRITEBYTECODE=1 \
    MPLCONFIGDIR=/tmp/matplotlib \
    NUMBA_CACHE_DIR=/tmp/numba \
    HF_HUB_OFFLINE=1

WORKDIR /opt/clipsieve
COPY pyproject.toml README.md LICENSE requirements.lock ./
COPY src ./src
RUN python -m pip install --no-cache-dir --constraint requirements.lock ".${EXTRAS}" \
    && clipsieve --version

WORKDIR /work
CMD ["clipsieve", "--help"]
