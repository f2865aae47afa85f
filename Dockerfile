# The program in an image, for processors and, on another base, for NVIDIA's GPUs:
#   docker build -t mnasnet .
#   docker build -t mnasnet:cuda --build-arg BASE=nvidia/cuda:13.0.2-base-ubuntu24.04 .
# torch brings CUDA's libraries into both.
ARG BASE=python:3.13-slim
FROM ${BASE}

# Ubuntu's bases bring no Python; the one of a release is all there is to install.
# hadolint ignore=DL3008
RUN command -v python3 || { \
      apt-get update && apt-get install --yes --no-install-recommends python3-venv && \
      rm -rf /var/lib/apt/lists/*; }

# File by file, as a checkout holds runs and environments beside them.
COPY pyproject.toml constraints.txt README.md LICENSE /source/
COPY supernet /source/supernet
COPY search /source/search
COPY retrain /source/retrain
COPY configs /source/configs

# Extras of pyproject.toml, such as openvino,report.
ARG EXTRAS=""
RUN python3 -m venv /opt/mnasnet && \
    /opt/mnasnet/bin/pip install --no-cache-dir --constraint /source/constraints.txt \
      "/source${EXTRAS:+[${EXTRAS}]}"
ENV PATH=/opt/mnasnet/bin:${PATH}

# Any user may write into the home, so that docker run --user works; caches lie there.
RUN useradd --uid 10001 --create-home mnasnet && chmod 1777 /home/mnasnet && \
    install --directory --owner mnasnet /work
ENV HOME=/home/mnasnet USER=mnasnet
USER 10001
WORKDIR /work
ENTRYPOINT ["mnasnet"]
CMD ["--help"]
