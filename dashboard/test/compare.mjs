/** Whether `dist`, as it is committed, is what the sources make now: `node test/compare.mjs FOLDER`. */

import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';

function files(folder) {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return names.filter((name) => statSync(join(folder, name)).isFile()).sort();
}

/** Versions of node compress differently; what comes out is the same. */
function content(folder, name) {
  const bytes = readFileSync(join(folder, name));
  if (name.endsWith('.gz')) return gunzipSync(bytes);
  return name.endsWith('.br') ? brotliDecompressSync(bytes) : bytes;
}

const [made, kept] = [process.argv[2] ?? '', 'dist'];
const names = new Set([...files(made), ...files(kept)]);
const differ = [...names].filter((name) => {
  try {
    return !content(made, name).equals(content(kept, name));
  } catch {
    return true;
  }
});
if (differ.length > 0) {
  console.error(`dashboard/dist is not what its sources make: ${differ.join(', ')}`);
  console.error('Run `cargo xtask dashboard` and commit what it changes.');
  process.exit(1);
}
console.log(`dashboard/dist is what its sources make: ${names.size} files`);
