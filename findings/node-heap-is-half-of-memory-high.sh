#!/usr/bin/env bash
# Node takes half of what its control group may have for the heap, and the lower one of its unit's MemoryHigh= and MemoryMax= counts. So whoever raises
# MemoryMax= alone gives Node nothing: with MemoryHigh=768M its heap ends at 396 MiB, far from either limit.
#
# Run as root on Debian for x86-64, with mmdebstrap, e2fsprogs and qemu-system-x86. It makes a Debian 13 in a temporary folder and emulates a machine of
# 4 GiB that boots it: control groups of a container may be of version 1. Some two minutes.
set -euo pipefail

suite=trixie
seen_with='linux-image-cloud-amd64 6.12.117-1, nodejs 20.19.2+dfsg-1+deb13u3, systemd 257.13-1~deb13u1' # Debian's packages
expected='MemoryMax=1G: 524 MiB
MemoryMax=1G MemoryHigh=768M: 396 MiB
MemoryMax=3G MemoryHigh=768M: 396 MiB'

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | awk '/\/debian\/$/ && !found++') # this machine's own
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT

root=$work/$suite
packages=linux-image-cloud-amd64,initramfs-tools,udev,systemd-sysv,dbus,nodejs
mmdebstrap --quiet --variant=apt --aptopt='Acquire::Check-Valid-Until "false"' --include=$packages "$suite" "$root" "$mirror"
version=$(chroot "$root" dpkg-query --show --showformat='${Package} ${Version}, ' linux-image-cloud-amd64 nodejs systemd)
version=${version%, }
echo "Debian $suite, $version"
if [ "$version" != "$seen_with" ]; then
  echo "another version, not applicable (seen with $seen_with)"
  exit
fi

cat >"$root/inside.sh" <<'INSIDE'
exec >/dev/console
heap() {
  mib=$(systemd-run --quiet --wait --pipe ${1:+$(printf -- '-p %s ' $1)} /usr/bin/node -p 'Math.round(v8.getHeapStatistics().heap_size_limit / 2 ** 20)' 2>&1)
  echo "seen: $1: $mib MiB"
}
heap 'MemoryMax=1G'
heap 'MemoryMax=1G MemoryHigh=768M'
heap 'MemoryMax=3G MemoryHigh=768M'
INSIDE
cat >"$root/etc/systemd/system/inside.service" <<'UNIT'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/bash /inside.sh
ExecStopPost=/usr/bin/systemctl --no-block --force poweroff
[Install]
WantedBy=graphical.target
UNIT
systemctl --root="$root" enable --quiet inside.service
systemctl --root="$root" mask --quiet serial-getty@ttyS0.service
echo '/dev/vda / ext4 defaults 0 1' >"$root/etc/fstab"
cp "$root"/boot/vmlinuz-* "$work/kernel"
cp "$root"/boot/initrd.img-* "$work/initrd"
mke2fs -q -t ext4 -d "$root" "$work/disk" 3G >/dev/null
timeout 600 qemu-system-x86_64 -accel tcg -cpu max -smp 2 -m 4096 -nodefaults -display none -no-reboot -serial stdio -device virtio-rng-pci \
  -kernel "$work/kernel" -initrd "$work/initrd" -append 'root=/dev/vda rw console=ttyS0 quiet' -drive "file=$work/disk,if=virtio,format=raw" \
  </dev/null >"$work/console" 2>&1 || true
seen=$(sed -n 's/\r//g; s/^.*seen: //p' "$work/console")
echo "$seen"
[ "$seen" = "$expected" ] || { echo "changed: expected"; echo "$expected"; tail -n 40 "$work/console"; exit 1; }
