/** One account: what a miner bookmarks. */

import { useState } from 'preact/hooks';
import { type Account as AccountData, address, type Worker } from '../api';
import { count, device, difficulty, hashrate, NONE } from '../format';
import { pool } from '../live';
import { useResource } from '../resource';
import { href, replaceQuery, route } from '../route';
import { Badge, Copy, Failure, Loading, Panel, Rejects, Stat, total, Time } from '../ui/basic';
import { HashrateChart } from '../ui/chart';
import { type Column, Pager, Table } from '../ui/table';
import { BlockTable } from './blocks';
import { Addresses } from './connect';
import { Expected } from './overview';

/** Workers on one page. */
const LIMIT = 100;
/** The newest of its blocks. */
const BLOCKS = 10;

export function Account({ name }: { name: string }) {
  const offset = Number(route.value.query.get('offset')) || 0;
  const url = address(`accounts/${encodeURIComponent(name)}`, { offset: offset || undefined, limit: LIMIT });
  const { data, failure } = useResource<AccountData>(url, 10, ['worker', 'block']);
  return (
    <>
      <h1 class="name">
        <span class="mono break" data-copy>
          {name}
        </span>{' '}
        <Copy text={name} what="the name" />
      </h1>
      {failure?.status === 404 && <Unknown name={name} />}
      {failure && failure.status !== 404 && <Failure failure={failure} stale={data !== undefined} />}
      {data ? <Known data={data} /> : !failure && <Loading />}
    </>
  );
}

function Unknown({ name }: { name: string }) {
  return (
    <section class="panel welcome" aria-labelledby="unknown">
      <h2 id="unknown">The pool does not know this account</h2>
      <p>
        An account is made with its first accepted share. If your miner has just been started, wait for a minute: this page looks again by
        itself. Else compare the name with the user name in your miner’s set-up, up to the first dot.
      </p>
      {pool.value && <Addresses state={pool.value} account={name} />}
    </section>
  );
}

function Known({ data }: { data: AccountData }) {
  const wanted = route.value.query.get('worker');
  const worker = data.workers.find((one) => one.worker === wanted) ?? null;
  const { account, since } = data;
  const subject = worker ? { subject: 'worker', account, worker: worker.worker } : { subject: 'account', account, since };
  const all = href(['account', data.account]);
  return (
    <>
      <Panel
        title={worker ? `Hashrate of ${workerName(worker)}` : 'Hashrate'}
        aside={worker && <a href={all}>All workers</a>}
      >
        <HashrateChart {...subject} now={(worker ?? data).hashrate} />
      </Panel>
      <Figures data={data} />
      <Workers data={data} current={worker} />
      <div class="columns">
        <Panel title="Blocks" aside={<a href="#/blocks">All of the pool</a>}>
          {data.blocks.length > 0 ? (
            <BlockTable blocks={data.blocks.slice(0, BLOCKS)} brief own />
          ) : (
            <p class="quiet">None yet. Every hash has the same chance as anybody’s.</p>
          )}
        </Panel>
        <Panel
          title={worker ? `Refused shares of ${workerName(worker)}` : 'Refused shares'}
          aside={<span class="quiet">last 24 hours</span>}
        >
          <Rejects rejected={(worker ?? data).rejected} />
        </Panel>
      </div>
    </>
  );
}

function Figures({ data }: { data: AccountData }) {
  return (
    <dl class="stats in-5">
      <Stat name="Workers online" note={`of ${count(data.workers_total)}`}>
        {count(data.workers_online)}
      </Stat>
      <Stat name="Accepted shares" note={<>first one <Time at={data.since} /></>}>
        {count(data.shares)}
      </Stat>
      <Stat name="Best share" note={<Time at={data.best_at} />}>
        {data.best > 0 ? difficulty(data.best) : NONE}
      </Stat>
      <Stat name="Last share">
        <Time at={data.last_share_at} />
      </Stat>
      <Expected networkDifficulty={pool.value?.tip?.network_difficulty ?? null} hashrate={data.hashrate.h1 || data.hashrate.m10} />
    </dl>
  );
}

function workerName({ worker }: Worker): string {
  return worker === '' ? 'the worker without name' : worker;
}

type By = 'name' | 'online' | 'hashrate' | 'shares' | 'best' | 'last';

/** The smallest first. */
const COMPARE: Record<By, (a: Worker, b: Worker) => number> = {
  name: (a, b) => a.worker.localeCompare(b.worker, 'en', { numeric: true }),
  online: (a, b) => Number(a.online) - Number(b.online),
  hashrate: (a, b) => a.hashrate.m10 - b.hashrate.m10,
  shares: (a, b) => a.shares - b.shares,
  best: (a, b) => a.best - b.best,
  last: (a, b) => (a.last_share_at ?? 0) - (b.last_share_at ?? 0),
};

function Workers({ data, current }: { data: AccountData; current: Worker | null }) {
  const [by, setBy] = useState<By>('name');
  const offset = Number(route.value.query.get('offset')) || 0;
  const sign = by === 'name' ? 1 : -1;
  const rows = [...data.workers].sort((a, b) => sign * COMPARE[by](a, b) || COMPARE.name(a, b));
  const columns: Column<Worker>[] = [
    {
      name: 'Worker',
      heading: true,
      order: 'name',
      cell: (one) => (
        <a class="mono" href={href(['account', data.account], { worker: one.worker })} title="Show its hashrate">
          {one.worker === '' ? '(no name)' : one.worker}
        </a>
      ),
    },
    {
      name: 'State',
      order: 'online',
      cell: (one) => (one.online ? <Badge kind="good">Online</Badge> : <Badge kind="bad">Offline</Badge>),
    },
    { name: '10 min', number: true, order: 'hashrate', cell: (one) => hashrate(one.hashrate.m10) },
    { name: '24 h', number: true, wide: true, cell: (one) => hashrate(one.hashrate.h24) },
    { name: 'Last share', number: true, order: 'last', cell: (one) => <Time at={one.last_share_at} /> },
    { name: 'Shares', number: true, order: 'shares', cell: (one) => count(one.shares) },
    { name: 'Refused', number: true, cell: (one) => <span title="In the last 24 hours">{count(total(one.rejected))}</span> },
    { name: 'Best', number: true, order: 'best', cell: (one) => difficulty(one.best) },
    { name: 'Difficulty', number: true, wide: true, cell: (one) => (one.difficulty === null ? NONE : difficulty(one.difficulty)) },
    { name: 'Device', wide: true, cell: (one) => device(one.device, one.protocol) },
  ];
  return (
    <Panel title="Workers">
      <Table
        caption="Workers of this account"
        columns={columns}
        rows={rows}
        rowKey={(one) => one.worker}
        order={{ by, choose: (next) => setBy(next as By), ascending: (one) => one === 'name' }}
        empty="No worker has had a share accepted yet."
        current={(one) => one === current}
      />
      <Pager
        offset={offset}
        limit={LIMIT}
        shown={rows.length}
        total={data.workers_total}
        go={(to) => replaceQuery({ offset: to || undefined })}
      />
    </Panel>
  );
}
