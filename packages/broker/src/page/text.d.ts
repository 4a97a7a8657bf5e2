/* Files that esbuild puts into the bundle as text: `with { type: 'text' }`. */

declare module '*.html' {
  const text: string;
  export default text;
}

declare module '*.css' {
  const text: string;
  export default text;
}

declare module '*.svg' {
  const text: string;
  export default text;
}

declare module '*/kpx.js' {
  const text: string;
  export default text;
}
