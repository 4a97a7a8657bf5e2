#!/usr/bin/env bash
# php-amqplib writes a float into a message header as a string (tag S), without an error: 2.5 is "2.5", and 1.0 is "1". An integer stays one.
# It can read the doubles (tag d) of others.
#
# Run as root on Debian, with mmdebstrap. It makes a Debian of its own in a temporary folder.
set -euo pipefail

# What was seen, by suite and version of Debian's package php-amqplib.
declare -A versions=([trixie]=3.7.3-1 [sid]=3.7.5-1)
declare -A expected=(
  [trixie]='3 is written with the tag I, read as 3
2.5 is written with the tag S, read as "2.5"
1.0 is written with the tag S, read as "1"
a double of others is read as 2.5'
  [sid]='3 is written with the tag I, read as 3
2.5 is written with the tag S, read as "2.5"
1.0 is written with the tag S, read as "1"
a double of others is read as 2.5'
)

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | awk '/\/debian\/$/ && !found++') # this machine's own
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT

cat >"$work/inside.sh" <<'INSIDE'
cat >/mnt/client.php <<'CLIENT'
<?php
require '/usr/share/php/PhpAmqpLib/autoload.php';
use PhpAmqpLib\Wire\{AMQPBufferReader, AMQPTable, AMQPWriter};

foreach ([3, 2.5, 1.0] as $value) {
    $writer = new AMQPWriter();
    $writer->write_table(new AMQPTable(['k' => $value]));
    $bytes = $writer->getvalue();
    $read = (new AMQPBufferReader($bytes))->read_table(true)['k'];
    echo json_encode($value, JSON_PRESERVE_ZERO_FRACTION), ' is written with the tag ', $bytes[6], ', read as ', json_encode($read), PHP_EOL;
}
$double = "\x01kd" . pack('E', 2.5);
$read = (new AMQPBufferReader(pack('N', strlen($double)) . $double))->read_table(true)['k'];
echo 'a double of others is read as ', json_encode($read), PHP_EOL;
CLIENT
php /mnt/client.php
INSIDE

for suite in trixie sid; do
  root=$work/$suite
  mmdebstrap --quiet --variant=apt --aptopt='Acquire::Check-Valid-Until "false"' --include=php-amqplib,php-cli "$suite" "$root" "$mirror"
  version=$(chroot "$root" dpkg-query --show --showformat='${Version}' php-amqplib)
  echo "Debian $suite, php-amqplib $version"
  if [ "$version" != "${versions[$suite]}" ]; then
    echo "another version, not applicable (seen with ${versions[$suite]})"
    continue
  fi
  cp "$work/inside.sh" "$root/inside.sh"
  seen=$(unshare --mount bash -c 'mount -t proc proc "$1/proc" && mount -t tmpfs tmpfs "$1/mnt" && chroot "$1" /usr/bin/env -i PATH=/usr/sbin:/usr/bin /bin/bash /inside.sh' _ "$root" 2>&1)
  echo "$seen"
  [ "$seen" = "${expected[$suite]}" ] || { echo "changed: expected"; echo "${expected[$suite]}"; exit 1; }
done
