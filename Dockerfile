# The image of the operator. It contains only the binary and the CA certificates of the distribution.
#
#   docker build --tag REGISTRY/live-message-operator:TAG .
#
# Requires BuildKit, the default since Docker 23, which caches crates and compiled dependencies between builds. Both
# stages use the same Debian release, so that the glibc versions match.
#
# The tag of a base image can be republished. Pin the digests for reproducible builds:
#
#   docker build --build-arg BUILD_IMAGE=docker.io/library/rust@sha256:... \
#     --build-arg RUNTIME_IMAGE=gcr.io/distroless/cc-debian12@sha256:... .

ARG BUILD_IMAGE=docker.io/library/rust:1.95.0-bookworm
# Distroless has no versions beside that of Debian.
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot
FROM ${BUILD_IMAGE} AS build
WORKDIR /src
COPY . .
# Copy the binary out of the cache, because cache mounts are not part of the image.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --release --locked --bin live-message-operator \
    && install -D target/release/live-message-operator /out/live-message-operator

# This base image contains glibc and CA certificates, but no shell.
FROM ${RUNTIME_IMAGE}
LABEL org.opencontainers.image.title="live-message-operator" \
      org.opencontainers.image.description="Kubernetes operator for Alibaba Cloud Live interactive-messaging groups" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/live-message-operator /usr/local/bin/live-message-operator
COPY LICENSE /usr/share/doc/live-message-operator/LICENSE
# The user "nonroot" of the base image. It is specified by number, so that the kubelet can verify that it is not root.
USER 65532:65532
EXPOSE 8081
ENTRYPOINT ["/usr/local/bin/live-message-operator"]
CMD ["run"]
