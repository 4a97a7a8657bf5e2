/** Of all programs of kpx: that of package.json. */
export const VERSION = '0.1.0';
