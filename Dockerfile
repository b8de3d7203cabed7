# The image of the operator: a static binary, CA certificates, and no other files. `make image` builds the same image
# without a container engine.
#
#   docker build --tag REGISTRY/live-message-operator:TAG --build-arg REVISION=$(git rev-parse HEAD) .
#
# Requires BuildKit (the default since Docker 23), which caches crates and compiled dependencies between builds.
# `make e2e` tests the last stage. Images for arm64 are untested: build one on an arm64 machine, or with `docker buildx
# build --platform linux/arm64`, which emulates such a machine.

# The digest identifies an image index for amd64 and arm64. Change the tag and the digest together.
FROM docker.io/library/rust:1.95.0-bookworm@sha256:6258907abe69656e41cd992e0b705cdcfabcbbe3db374f92ed2d47121282d4a1 AS build
# cargo-auditable embeds the dependency list in the binary, where vulnerability scanners can read it.
RUN cargo install --locked cargo-auditable@0.7.7
WORKDIR /src
COPY . .
# With --target, the flags do not apply to build scripts and procedural macros, which cannot be static.
ENV RUSTFLAGS="-C target-feature=+crt-static --remap-path-prefix=/usr/local/cargo=/cargo --remap-path-prefix=/target=/target"
# Copy the binary out of the cache, because cache mounts are not part of the image.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/target,sharing=locked \
    target="$(uname -m)-unknown-linux-gnu" \
    && cargo auditable build --release --locked --bin live-message-operator --target "$target" --target-dir /target \
    && install -D "/target/$target/release/live-message-operator" /out/live-message-operator \
    && install -D --mode 644 /etc/ssl/certs/ca-certificates.crt /out/ca-certificates.crt

FROM scratch
ARG REVISION=unknown
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="live-message-operator" \
      org.opencontainers.image.description="Kubernetes operator for Alibaba Cloud Live interactive-messaging groups" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /out/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/live-message-operator /usr/local/bin/live-message-operator
COPY LICENSE /usr/share/doc/live-message-operator/LICENSE
# The user is given by its ID, so that the kubelet can verify that the user is not root.
USER 65532:65532
EXPOSE 8081
ENTRYPOINT ["/usr/local/bin/live-message-operator"]
CMD ["run"]
