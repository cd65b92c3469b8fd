/** What can be said about blocks to come: the average, and chances. Nobody can say more, as every hash has the same chance. */

/** Hashes for a difficulty of one: 2^256 / (0xffff · 2^208 + 1), nearly 2^32. */
const HASHES_PER_DIFFICULTY = 2 ** 48 / 0xffff;

/** Seconds between blocks on average, if hashrate and difficulty stay. Infinite without hashrate. */
export function secondsToBlock(networkDifficulty: number, hashrate: number): number {
  return hashrate > 0 ? (networkDifficulty * HASHES_PER_DIFFICULTY) / hashrate : Infinity;
}

/** The chance of at least one block within a time, 0 to 1. */
export function chanceWithin(seconds: number, secondsToBlock: number): number {
  // expm1 keeps small chances exact.
  return -Math.expm1(-seconds / secondsToBlock);
}
