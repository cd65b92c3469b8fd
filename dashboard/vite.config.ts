import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { defineConfig, type Plugin } from 'vite';
import { DEV_SERVER } from './test/fixture/address';

/** Packages whose code is in the bundle. A new one belongs here, so that its licence is kept. */
const BUNDLED = ['preact', '@preact/signals', '@preact/signals-core', 'uplot'];

/** Puts the licences of what is bundled beside it. */
function licences(): Plugin {
  return {
    name: 'licences',
    apply: 'build',
    generateBundle() {
      const seen = [...this.getModuleIds()]
        .map((id) => /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(id)?.[1])
        .filter((name) => name !== undefined && name !== 'vite');
      const missing = seen.filter((name) => !BUNDLED.includes(name as string));
      if (missing.length > 0) this.error(`bundled without its licence: ${[...new Set(missing)].join(', ')}`);
      const parts = BUNDLED.map((name) => {
        const folder = join('node_modules', name);
        const { version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
        const text = readFileSync(join(folder, 'LICENSE'), 'utf8').trim();
        return `${name} ${version} (${license})\n\n${text}\n`;
      });
      const head = 'The dashboard contains parts of these libraries, under these licences.\n';
      this.emitFile({ type: 'asset', fileName: 'LICENCES.txt', source: [head, ...parts].join('\n\n') });
    },
  };
}

/** Puts compressed variants beside each file: the server sends them as they are. */
function compressed(): Plugin {
  let folder = '';
  return {
    name: 'compressed',
    apply: 'build',
    configResolved(config) {
      folder = config.build.outDir;
    },
    closeBundle() {
      for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
        const path = join(folder, name);
        if (!statSync(path).isFile()) continue;
        const bytes = readFileSync(path);
        writeFileSync(`${path}.gz`, gzipSync(bytes, { level: 9 }));
        const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length };
        writeFileSync(`${path}.br`, brotliCompressSync(bytes, { params }));
      }
    },
  };
}

export default defineConfig({
  plugins: [licences(), compressed()],
  esbuild: { legalComments: 'none' },
  build: {
    target: 'es2022',
    // The pool's policy allows nothing inline, data: addresses included.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // Sizes are looked at by the test of the bundle.
    reportCompressedSize: false,
  },
  server: { proxy: { '/api': DEV_SERVER } },
});
