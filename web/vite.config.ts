import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

// Pages become files of the Go package that embeds them. Nothing is inlined: the pages
// run under a content security policy without inline script or data: URIs.
export default defineConfig({
  build: {
    target: 'es2022',
    outDir: at('../internal/control/web/dist'),
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    chunkSizeWarningLimit: 600,
    rolldownOptions: {
      input: {
        index: at('index.html'),
        watch: at('watch.html'),
        docs: at('docs.html'),
        missing: at('404.html'),
      },
    },
  },
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  server: { proxy: { '/v1': 'http://127.0.0.1:8080', '/hls': 'http://127.0.0.1:8080' } },
  test: { include: ['src/**/*.test.ts', 'test/**/*.test.ts'], environment: 'node' },
});
