import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { test } from 'node:test';

/** What a first visit may cost, compressed. The aim of the project is 150 KiB; this keeps it from growing unseen. */
const BUDGET_KIB = 64;

const assets = () => readdirSync('dist/assets');

test('the first load is small', () => {
  const names = ['index.html', 'logo.svg', ...assets().filter((name) => /\.(js|css)$/.test(name)).map((name) => `assets/${name}`)];
  const bytes = names.reduce((sum, name) => sum + statSync(`dist/${name}.gz`).size, 0);
  assert.ok(names.length >= 4);
  assert.ok(bytes < BUDGET_KIB * 1024, `${names.join(', ')}: ${bytes} bytes`);
});

test('nothing is inline, and nothing comes from elsewhere', () => {
  const page = readFileSync('dist/index.html', 'utf8');
  assert.doesNotMatch(page, /<style|style=|<script(?![^>]*\ssrc=)|\son\w+=/i);
  for (const [, source] of page.matchAll(/(?:src|href)="([^"]*)"/g)) assert.match(source as string, /^\/[^/]/);
  const styles = assets().filter((name) => name.endsWith('.css')).map((name) => readFileSync(`dist/assets/${name}`, 'utf8'));
  for (const text of styles) assert.doesNotMatch(text, /url\(|@import/);
});

test('licences of what is bundled are there', () => {
  const text = readFileSync('dist/LICENCES.txt', 'utf8');
  for (const name of ['preact', '@preact/signals', '@preact/signals-core', 'uplot']) assert.match(text, new RegExp(`^${name} \\d`, 'm'));
});
