# One image per architecture: docker build . (or buildx with --platform linux/amd64,linux/arm64,linux/ppc64le).
# amd64 and arm64 run on Deno; ppc64le, for which there is no Deno, runs the same bundle on Node.js. Nothing of the target
# architecture runs during the build, so that no emulation is needed. docs/images.md has sizes and what each image can do.
ARG DEBIAN=debian:trixie-slim
ARG DENO=denoland/deno:bin-2.9.6
ARG DENO_TARGET=${DENO}
ARG BUILDPLATFORM
ARG TARGETARCH

# --- The bundle: the same for every architecture -----------------------------------------------------------------------
FROM --platform=$BUILDPLATFORM ${DENO} AS deno-build
FROM --platform=$BUILDPLATFORM ${DEBIAN} AS bundle
# A certificate file, for networks with an authority of their own.
ARG DENO_CERT
ENV NO_COLOR=1
COPY --from=deno-build /deno /usr/bin/deno
WORKDIR /src
COPY . .
# With it comes what V8 compiles at a start, compiled now. That takes a run of the plugin, so only an image for the
# processor of the build has it; the others start without.
ARG BUILDPLATFORM
ARG TARGETARCH
RUN if [ "$BUILDPLATFORM" = "linux/$TARGETARCH" ]; then cache=--code-cache; else cache=; fi; \
    deno run --quiet --allow-all tools/bundle.ts $cache /out "/usr/bin/deno -P=image"
# For Node.js, which the shebang of the other names differently.
RUN mkdir /out-node && cp /out/rdma-device-plugin.cjs /out-node \
    && sed '1s#.*#\#!/usr/bin/node#' /out/rdma-device-plugin.mjs > /out-node/rdma-device-plugin.mjs \
    && chmod 755 /out-node/rdma-device-plugin.mjs

# --- What it runs on: libibverbs with the adapters' providers (without them it lists nothing) and what they depend on ----
# No shell, no package manager. What dpkg knows of each package comes along where scanners look for it in such images
# (/var/lib/dpkg/status.d), and so does each copyright file.
FROM --platform=$BUILDPLATFORM ${DEBIAN} AS rootfs
ARG TARGETARCH
RUN set -eu; \
    packages="libc6 libgcc-s1 libibverbs1 ibverbs-providers"; \
    case "$TARGETARCH" in \
      amd64 | arm64) architecture=$TARGETARCH ;; \
      ppc64le) architecture=ppc64el; packages="$packages nodejs" ;; \
      *) echo "there is no image for $TARGETARCH" >&2; exit 1 ;; \
    esac; \
    # apt is told that nothing is installed, and so downloads these and all that they need; but for what only the scripts
    # of the packages need, which are not run, and Node.js's downloader of package managers.
    mkdir -p /fresh/partial /rootfs/var/lib/dpkg/status.d /rootfs/etc; \
    for name in adduser debconf node-corepack; do printf \
      'Package: %s\nStatus: install ok installed\nVersion: 999\nArchitecture: all\nMulti-Arch: foreign\nMaintainer: none\nDescription: none\n\n' \
      "$name"; done > /fresh/status; \
    apt() { apt-get -q -o "APT::Architecture=$architecture" -o "APT::Architectures=$architecture" \
      -o Dir::State::Status=/fresh/status -o Dir::Cache::Archives=/fresh -o APT::Sandbox::User=root "$@"; }; \
    apt update; \
    apt install -y --no-install-recommends --download-only $packages; \
    for package in /fresh/*.deb; do \
      dpkg-deb --extract "$package" /rootfs; \
      dpkg-deb --field "$package" > "/rootfs/var/lib/dpkg/status.d/$(dpkg-deb --field "$package" Package)"; \
    done; \
    # Programs that came with the libraries, and what only people, other programs and other languages read.
    find /rootfs/usr/bin /rootfs/usr/sbin ! -type d ! -name node -delete 2> /dev/null || true; \
    find /rootfs/usr/share -mindepth 1 -maxdepth 1 ! -name doc ! -name nodejs -exec rm -rf {} +; \
    find /rootfs/usr/share/doc ! -type d ! -name copyright ! -type l -delete; \
    rm -rf /rootfs/usr/lib/systemd /rootfs/usr/lib/udev /rootfs/usr/lib/*/gconv /rootfs/etc/init.d; \
    # A merged /usr, as everywhere in Debian now.
    mkdir -p /rootfs/usr/bin /rootfs/usr/sbin /rootfs/usr/lib; \
    for name in bin sbin lib lib64; do \
      if [ -d "/rootfs/$name" ] && [ ! -L "/rootfs/$name" ]; then \
        mkdir -p "/rootfs/usr/$name"; cp -a "/rootfs/$name/." "/rootfs/usr/$name/"; rm -rf "/rootfs/$name"; fi; \
      [ ! -d "/rootfs/usr/$name" ] || [ -L "/rootfs/$name" ] || ln -s "usr/$name" "/rootfs/$name"; \
    done; \
    cp -L /etc/os-release /etc/debian_version /rootfs/etc/; \
    echo 'root:x:0:0:root:/:/none' > /rootfs/etc/passwd; \
    echo 'root:x:0:' > /rootfs/etc/group; \
    echo 'hosts: files dns' > /rootfs/etc/nsswitch.conf

# --- The image: the same but for the program that runs the bundle -----------------------------------------------------
FROM ${DENO_TARGET} AS deno
FROM scratch AS image-deno
COPY --from=rootfs /rootfs /
COPY --from=deno /deno /usr/bin/deno
COPY --from=bundle /out /app
COPY LICENSE NOTICE THIRD_PARTY_NOTICES.txt /usr/share/doc/rdma-device-plugin/
# Nothing is asked, fetched or cached at run time.
ENV DENO_NO_PROMPT=1 DENO_NO_UPDATE_CHECK=1 DENO_DIR=/nonexistent NO_COLOR=1
# A small heap that is tidied early, and one compiler less: half the memory at the same speed (docs/performance.md). Node.js
# is told the same in its entry point below.
ENV DENO_V8_FLAGS=--max-semi-space-size=1,--heap-growing-percent=10,--no-maglev
# Where the manifests mount the host's trees, for `kubectl exec POD -- /app/rdma-device-plugin.mjs doctor` as well.
ENV RDMA_DEVICE_PLUGIN_SYSFS_ROOT=/host/sys RDMA_DEVICE_PLUGIN_DEV_ROOT=/host/dev
ENTRYPOINT ["/usr/bin/deno", "run", "--quiet", "-P=image", "/app/rdma-device-plugin.mjs"]

FROM image-deno AS image-amd64
FROM image-deno AS image-arm64

FROM scratch AS image-ppc64le
COPY --from=rootfs /rootfs /
COPY --from=bundle /out-node /app
COPY LICENSE NOTICE THIRD_PARTY_NOTICES.txt /usr/share/doc/rdma-device-plugin/
ENV NO_COLOR=1 RDMA_DEVICE_PLUGIN_SYSFS_ROOT=/host/sys RDMA_DEVICE_PLUGIN_DEV_ROOT=/host/dev
ENTRYPOINT ["/usr/bin/node", "--max-semi-space-size=1", "--heap-growing-percent=10", "--no-maglev", "/app/rdma-device-plugin.mjs"]

FROM image-${TARGETARCH}
ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="rdma-device-plugin" \
      org.opencontainers.image.description="Offers a Kubernetes node's RDMA adapters to pods" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
