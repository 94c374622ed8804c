#!/bin/sh
# Every new volume is a new cluster with an id of its own. The image's default id is the same everywhere: a volume that
# was lost and made again would look like the old one, and nobody would publish again what was in it.
set -eu
kept=/var/lib/kafka/data/meta.properties
if [ -f "$kept" ]; then
    CLUSTER_ID=$(sed -n 's/^cluster\.id=//p' "$kept")
else
    CLUSTER_ID=$(/opt/kafka/bin/kafka-storage.sh random-uuid)
fi
export CLUSTER_ID
exec /etc/kafka/docker/run
