# syntax=docker/dockerfile:1
# Two images from one file (BuildKit):
#   docker build --target api    -t numeral-api .       the API, the client and the CLI; no TensorFlow
#   docker build --target worker -t numeral-worker .    trains, on an NVIDIA GPU
#   docker build --target worker --build-arg EXTRA=train -t numeral-worker:cpu .    trains on the CPU

FROM python:3.13-slim-trixie AS base
# A fixed uid, so that files in volumes keep their owner from one image to the next. The home folder is the cache:
# what libraries write into a home folder (CUDA's compiled kernels, Keras's configuration) can be made again, too.
RUN groupadd --gid 10001 numeral \
    && useradd --uid 10001 --gid numeral --home-dir /cache --no-create-home --shell /usr/sbin/nologin numeral \
    && install --directory --owner numeral --group numeral /data /cache
ENV PATH=/opt/numeral/bin:$PATH \
    # Where `uv sync` installs to: outside the sources' folder, and owned by root, so that the service cannot alter it.
    UV_PROJECT_ENVIRONMENT=/opt/numeral \
    # The image's Python, never another one.
    UV_PYTHON_DOWNLOADS=never \
    # uv's cache is a mount, and hard links do not reach across filesystems.
    UV_LINK_MODE=copy \
    # At run time nobody may write there; without bytecode every training process would compile all of Keras again.
    UV_COMPILE_BYTECODE=1 \
    # The default, 127.0.0.1, could not be reached from outside the container.
    NUMERAL_HOST=0.0.0.0 \
    NUMERAL_PORT=8000 \
    NUMERAL_DATA_DIR=/data \
    NUMERAL_CACHE_DIR=/cache \
    # onnxruntime reports to its makers unless it is told not to before it is imported.
    ORT_DISABLE_TELEMETRY=1
VOLUME ["/data"]
# What the service treats as "finish up": the API answers what it has begun, a worker gives its experiments back.
STOPSIGNAL SIGTERM
ENTRYPOINT ["numeral"]

# uv comes from where the dependencies come from, so that a build needs one package index and no further registry.
FROM base AS uv
RUN pip install --no-cache-dir --target /uv uv==0.13.9

# The targets are built in place, with uv only mounted, and do not copy an environment from a builder stage: that would
# put dependencies and project into one layer, and every change of the source would push gigabytes of CUDA again.
FROM base AS worker
# What to train with: `gpu` (TensorFlow with the CUDA libraries it wants; the host has the driver) or `train` (CPU).
ARG EXTRA=gpu
WORKDIR /src
COPY pyproject.toml uv.lock ./
RUN --mount=type=cache,target=/root/.cache/uv --mount=type=bind,from=uv,source=/uv/bin/uv,target=/usr/local/bin/uv \
    uv sync --frozen --no-dev --extra "$EXTRA" --no-install-project
COPY README.md ./
COPY service service
COPY migrations migrations
RUN --mount=type=cache,target=/root/.cache/uv --mount=type=bind,from=uv,source=/uv/bin/uv,target=/usr/local/bin/uv \
    uv sync --frozen --no-dev --extra "$EXTRA" --no-editable
# What of the host's driver the NVIDIA container toolkit brings in: CUDA and nvidia-smi.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /data
USER 10001:10001
# A worker always has a child process: one that trains, or one in reserve that has imported Keras already. If there is
# none, that import has failed (a driver that does not fit, no memory) and no experiment could run.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["python", "-c", "import psutil, sys; \
    sys.exit(not any('service.worker.child' in (p.info['cmdline'] or []) for p in psutil.process_iter(['cmdline'])))"]
CMD ["worker"]

# Last, so that it is what a build without --target makes.
FROM base AS api
WORKDIR /src
COPY pyproject.toml uv.lock ./
RUN --mount=type=cache,target=/root/.cache/uv --mount=type=bind,from=uv,source=/uv/bin/uv,target=/usr/local/bin/uv \
    uv sync --frozen --no-dev --extra sweep --no-install-project
COPY README.md ./
COPY service service
COPY migrations migrations
RUN --mount=type=cache,target=/root/.cache/uv --mount=type=bind,from=uv,source=/uv/bin/uv,target=/usr/local/bin/uv \
    uv sync --frozen --no-dev --extra sweep --no-editable
WORKDIR /data
USER 10001:10001
EXPOSE 8000
# trust_env=False: a proxy that the environment names must not be asked for 127.0.0.1.
HEALTHCHECK --interval=15s --timeout=10s --start-period=30s --retries=3 CMD ["python", "-c", "import httpx, os; \
    httpx.get('http://127.0.0.1:' + os.environ['NUMERAL_PORT'] + '/readyz', trust_env=False).raise_for_status()"]
CMD ["api"]
