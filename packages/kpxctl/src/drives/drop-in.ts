/** Its name below the directory of each template unit of executors. */
export const DROP_IN = '30-kpx-drive.conf';

export const DROP_IN_TEXT = `# Written by kpxctl drives setup: no executor without the drive of its user, and it ends when the drive does.
# For some users only: move it to kpx-executor@alice.service.d of each, then systemctl daemon-reload.

[Unit]
BindsTo=kpx-drive@%i.service
After=kpx-drive@%i.service

[Service]
Environment=KPX_DRIVE=/run/kpx-drives/%i/mnt
`;
