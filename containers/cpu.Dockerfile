# Everything but the encoders: searches, probes, statistics, tables, figures.
#
#     docker build -f containers/cpu.Dockerfile -t clipsieve-cpu .
#     apptainer build clipsieve-cpu.sif docker-daemon://clipsieve-cpu:latest
#
# With `--build-arg EXTRAS=[workflow]` Snakemake is in it too, as executors without a shared file system need it.
FROM python:3.11-slim-bookworm

ARG EXTRAS=""

# No bytecode in a read-only image, and matplotlib's and numba's caches where any user may write.
ENV PYTHONDONTWRITEBYTECODE=1 \
    MPLCONFIGDIR=/tmp/matplotlib \
    NUMBA_CACHE_DIR=/tmp/numba

WORKDIR /opt/clipsieve
COPY pyproject.toml README.md LICENSE requirements.lock ./
COPY src ./src
RUN python -m pip install --no-cache-dir --constraint requirements.lock ".${EXTRAS}" \
    && clipsieve --version

WORKDIR /work
CMD ["clipsieve", "--help"]
