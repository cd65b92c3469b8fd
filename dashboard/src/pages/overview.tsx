/** What the pool does, at a glance. */

import { address, type Block, type Page, type Pool } from '../api';
import { chanceWithin, secondsToBlock } from '../chance';
import { count, difficulty, duration, hashrate, NONE, percent } from '../format';
import { pool } from '../live';
import { useResource } from '../resource';
import { AccountLink, Failure, Loading, Panel, Rejects, Stat, Time, total } from '../ui/basic';
import { HashrateChart } from '../ui/chart';
import { BlockTable } from './blocks';
import { Addresses } from './connect';

const DAY = 86_400;

export function Overview() {
  const state = pool.value;
  const blocks = useResource<Page<Block>>(address('blocks', { limit: 5 }), 60, ['block']);
  if (state === null) return <Loading />;
  const refused = total(state.shares.rejected);
  const isNew = state.workers_active === 0 && state.shares.accepted === 0;
  return (
    <>
      <h1 class="hidden">Overview</h1>
      <Ledger state={state} />
      {isNew && (
        <section class="panel welcome" aria-labelledby="welcome">
          <h2 id="welcome">No miner yet</h2>
          <p>Point one here, and this page comes to life with its first share.</p>
          <Addresses state={state} />
          <p>
            <a href="#/connect">What goes into the other fields</a>
          </p>
        </section>
      )}
      <Panel title="Pool hashrate">
        <HashrateChart subject="pool" now={state.hashrate} />
      </Panel>
      <Figures state={state} />
      <div class="columns">
        <Panel title="Recent blocks" aside={<a href="#/blocks">All blocks</a>}>
          {blocks.failure && <Failure failure={blocks.failure} stale={blocks.data !== undefined} />}
          {blocks.data ? <BlockTable blocks={blocks.data.items} brief /> : !blocks.failure && <Loading />}
        </Panel>
        <Panel
          title="Refused shares"
          aside={<span class="quiet">{percent(refused, state.shares.accepted + refused)} of all</span>}
        >
          <Rejects rejected={state.shares.rejected} accepted={state.shares.accepted} />
        </Panel>
      </div>
    </>
  );
}

function Figures({ state }: { state: Pool }) {
  const { best, tip, blocks } = state;
  return (
    <dl class="stats in-4">
      <Stat name="Workers" note={<>of {count(state.accounts_active)} {state.accounts_active === 1 ? 'account' : 'accounts'}</>}>
        {count(state.workers_active)}
      </Stat>
      <Stat name="Connections" note={`${count(state.channels)} ${state.channels === 1 ? 'channel' : 'channels'}`}>
        {count(state.connections)}
      </Stat>
      <Stat name="Accepted shares" note={<>last one <Time at={state.last_share_at} /></>}>
        {count(state.shares.accepted)}
      </Stat>
      <Stat
        name="Best share"
        note={
          best?.account != null && <AccountLink account={best.account} worker={best.worker ?? ''} />
        }
      >
        {best ? difficulty(best.difficulty) : NONE}
      </Stat>
      <Stat name="Blocks found" note={<>last one <Time at={blocks.last_found_at} /></>}>
        {count(blocks.found)}
      </Stat>
      <Stat name="Mining at height" note={tip && <>last block seen <Time at={tip.since} /></>}>
        {tip ? <a href="#/template">{count(tip.height + 1)}</a> : NONE}
      </Stat>
      <Stat name="Network difficulty" note={state.network}>
        {tip ? difficulty(tip.network_difficulty) : NONE}
      </Stat>
      <Expected networkDifficulty={tip?.network_difficulty ?? null} hashrate={state.hashrate.h1 || state.hashrate.m10} />
    </dl>
  );
}

/** How long a block takes on average. That is all that can be said: what was mined before does not bring the next one nearer. */
export function Expected({ networkDifficulty, hashrate: rate }: { networkDifficulty: number | null; hashrate: number }) {
  const seconds = networkDifficulty === null || rate <= 0 ? null : secondsToBlock(networkDifficulty, rate);
  return (
    <Stat
      name="Average time to a block"
      note={
        seconds !== null && (
          <span title={`At ${hashrate(rate)}. Every hash has the same chance: a long wait does not bring a block nearer.`}>
            {seconds > DAY / 8
              ? `chance in 24 h: ${percent(chanceWithin(DAY, seconds), 1)}`
              : `at ${hashrate(rate)}`}
          </span>
        )
      }
    >
      {seconds === null ? NONE : seconds < 1 ? '< 1\u00a0s' : duration(seconds)}
    </Stat>
  );
}

function Ledger({ state }: { state: Pool }) {
  const { ok, problem, index_problem: index } = state.ledger;
  if (ok && index === null) return null;
  return (
    <p class="failure" role="alert">
      {ok
        ? `Sums and lists stand still, as the database can not be written: ${index}. Shares are recorded as ever.`
        : `The pool can not record shares at the moment: ${problem ?? 'no reason known'}. Shares wait, and are acknowledged when it can again.`}
    </p>
  );
}

