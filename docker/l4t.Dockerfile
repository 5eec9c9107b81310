# syntax=docker/dockerfile:1
# ROS 2 Humble on a Jetson's own image, as the BASE of docker/Dockerfile (docs/boards.md):
#
#     docker build -f docker/l4t.Dockerfile -t patchline_base:l4t --build-arg L4T=IMAGE .
#     docker build -f docker/Dockerfile -t patchline_ros:l4t \
#       --build-arg ROS_DISTRO=humble --build-arg BASE=patchline_base:l4t .
#
# IMAGE is NVIDIA's l4t-jetpack r36.4.0 or later, with its registry: JetPack 6, which is Ubuntu 22.04,
# CUDA 12.6 and TensorRT.
ARG L4T
# hadolint ignore=DL3006
FROM ${L4T}

SHELL ["/bin/bash", "-o", "pipefail", "-c"]

# The package that sets up ROS's apt source, of github.com/ros-infrastructure/ros-apt-source.
ARG ROS_APT_SOURCE=1.1.0
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl \
    && curl -fsSL -o /tmp/source.deb "https://github.com/ros-infrastructure/ros-apt-source/releases/download/${ROS_APT_SOURCE}/ros2-apt-source_${ROS_APT_SOURCE}.jammy_all.deb" \
    && dpkg -i /tmp/source.deb \
    && apt-get update \
    && apt-get install -y --no-install-recommends \
        build-essential git python3-colcon-common-extensions python3-pip python3-rosdep \
        ros-humble-ros-base \
    && rosdep init \
    && rm -rf /tmp/source.deb /var/lib/apt/lists/*

ENV ROS_DISTRO=humble

# NVIDIA's PyTorch and torchvision for this JetPack: files or addresses of their wheels.
ARG TORCH_WHEELS=""
# hadolint ignore=DL3013,SC2086
RUN if test -z "${TORCH_WHEELS}"; then echo "give TORCH_WHEELS (docs/boards.md)"; exit 1; fi \
    && python3 -m pip install --no-cache-dir "numpy<2" ${TORCH_WHEELS}
