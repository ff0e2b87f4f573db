# monge with onnxruntime inside:
#
#   docker build --build-arg VERSION="$(make -s version)" -t monge .
#   docker run --rm -v "$PWD:/data" --user "$(id -u):$(id -g)" monge compress model.onnx -o small.onnx --macs 0.5

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION
RUN go build -trimpath -buildvcs=false -ldflags "-X main.version=${VERSION:-$(cat VERSION)}" -o /out/bin/monge ./cmd/monge

# The library is fetched by the program, which compares its checksum with the one it knows. Debian
# keeps no old versions that packages could be pinned to.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-pip \
    && rm -rf /var/lib/apt/lists/*
RUN XDG_CACHE_HOME=/tmp/cache /out/bin/monge runtime install \
    && mkdir -p /out/lib \
    && cp "$(find /tmp/cache/monge -name 'libonnxruntime*' -type f)" /out/lib/libonnxruntime.so

FROM debian:bookworm-slim
# onnxruntime is written in C++.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libstdc++6 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --no-create-home monge
COPY --from=build /out/bin/monge /usr/local/bin/monge
COPY --from=build /out/lib/libonnxruntime.so /usr/local/lib/libonnxruntime.so
COPY LICENSE CHANGELOG.md /usr/share/doc/monge/
ENV MONGE_ONNXRUNTIME=/usr/local/lib/libonnxruntime.so
USER 10001
WORKDIR /data
ENTRYPOINT ["monge"]
CMD ["--help"]
