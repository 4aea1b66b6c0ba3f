# Emotion-Qwen as a server. The model folder comes in as a volume; without one the small model of the package is served.
#
#   CPU:   docker build -t emotion-qwen .
#   CUDA:  docker build -t emotion-qwen:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .
#          (the CUDA libraries come with torch; the host needs NVIDIA's driver and container toolkit)
#   run:   docker run -p 8000:8000 -e EMOTION_QWEN_API_KEY -v "$PWD/my-model:/model:ro" emotion-qwen --model /model
#          (user 10001 must be able to read the folder; inside, the port stays 8000, for the health check asks there;
#          only /tmp is written to, so --read-only --tmpfs /tmp works)
FROM python:3.12.12-slim-bookworm AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/emotion-qwen
ENV PATH=/opt/emotion-qwen/bin:$PATH
RUN pip install --no-cache-dir --index-url "$TORCH_INDEX" "torch>=2.11,<2.14"
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
# What is installed is the folder itself; pyproject.toml has the versions.
# hadolint ignore=DL3013
RUN pip install --no-cache-dir ".[serve]"

FROM python:3.12.12-slim-bookworm
# libGL and GLib for OpenCV's library; libGL brings X11's and XCB's along.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin emotion
COPY --from=build /opt/emotion-qwen /opt/emotion-qwen
ENV PATH=/opt/emotion-qwen/bin:$PATH PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
USER 10001
WORKDIR /tmp
VOLUME ["/model"]
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["emotion-qwen", "serve", "--host", "0.0.0.0"]
