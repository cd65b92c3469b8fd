/** Blocks that the pool has found, and what became of them. */

import { useState } from 'preact/hooks';
import { address, type Block, type BlockStep, type Page } from '../api';
import { amount, bitcoin, count, difficulty, moment, NONE, shortHash } from '../format';
import { pool } from '../live';
import { useResource } from '../resource';
import { href, replaceQuery, route } from '../route';
import { AccountLink, Badge, Copy, Failure, Loading, Panel, Time } from '../ui/basic';
import { type Column, Pager, Table } from '../ui/table';

const LIMIT = 50;

export function Blocks() {
  const offset = Number(route.value.query.get('offset')) || 0;
  const { data, failure } = useResource<Page<Block>>(address('blocks', { offset, limit: LIMIT }), 60, ['block', 'tip']);
  const sums = pool.value?.blocks;
  return (
    <>
      <h1>Blocks</h1>
      {sums && (
        <p class="lead">
          {count(sums.found)} found, {count(sums.accepted)} accepted by a node, {count(sums.confirmed)} confirmed,{' '}
          {count(sums.orphaned)} orphaned.
        </p>
      )}
      {failure && <Failure failure={failure} stale={data !== undefined} />}
      {data ? (
        <Panel title="Found blocks">
          <BlockTable blocks={data.items} />
          <Pager
            offset={data.offset}
            limit={LIMIT}
            shown={data.items.length}
            total={data.total}
            go={(to) => replaceQuery({ offset: to || undefined })}
          />
        </Panel>
      ) : (
        !failure && <Loading />
      )}
    </>
  );
}

/** Blocks; `brief` has no more than fits half a page, `own` is for the page of the account that found them. */
export function BlockTable({ blocks, brief = false, own = false }: { blocks: Block[]; brief?: boolean; own?: boolean }) {
  const [open, setOpen] = useState<string | null>(null);
  const columns: Column<Block>[] = [
    {
      name: 'Height',
      heading: true,
      cell: (block) =>
        brief ? (
          count(block.height)
        ) : (
          <button
            type="button"
            class="expand"
            aria-expanded={open === block.hash}
            aria-label={`Life of block ${block.height}`}
            onClick={() => setOpen(open === block.hash ? null : block.hash)}
          >
            {count(block.height)}
          </button>
        ),
    },
    { name: 'State', cell: (block) => <State block={block} brief={brief} /> },
    { name: 'Found', cell: (block) => <Time at={block.found_at} /> },
    {
      name: 'Found by',
      cell: ({ finder }) =>
        !finder ? (
          NONE
        ) : own ? (
          <a class="mono" href={href(['account', finder.account], { worker: finder.worker })}>
            {finder.worker || '(no name)'}
          </a>
        ) : (
          <AccountLink account={finder.account} {...(brief ? {} : { worker: finder.worker })} />
        ),
    },
    {
      name: 'Value',
      number: true,
      wide: brief,
      cell: ({ value }) => (value === null ? NONE : <span title={bitcoin(value)}>{amount(value)}</span>),
    },
  ];
  if (!brief) {
    columns.push({
      name: 'Hash',
      wide: true,
      cell: (block) => (
        <span class="mono" title={block.hash}>
          {shortHash(block.hash)}
        </span>
      ),
    });
  }
  return (
    <Table
      caption="Found blocks, the newest first"
      // The public view may have no names.
      columns={blocks.some((block) => block.finder) ? columns : columns.filter((column) => column.name !== 'Found by')}
      rows={blocks}
      rowKey={(block) => block.hash}
      empty={
        <>
          No block yet. Every share is another ticket, and the pool submits a block to all its nodes before it looks at anything else.
        </>
      }
      detail={(block) => (!brief && open === block.hash ? <Life block={block} /> : null)}
    />
  );
}

function State({ block, brief }: { block: Block; brief: boolean }) {
  switch (block.state) {
    case 'confirmed':
      return <Badge kind="good">Confirmed</Badge>;
    case 'accepted':
      return (
        <Badge kind="good">
          {block.depth > 0 && block.confirmations_needed > 0
            ? `${count(block.depth)} of ${count(block.confirmations_needed)}${brief ? '' : ' confirmations'}`
            : 'Accepted'}
        </Badge>
      );
    case 'orphaned':
    case 'rejected':
    case 'lost':
      return <Badge kind="bad">{block.state.charAt(0).toUpperCase() + block.state.slice(1)}</Badge>;
    default:
      return <Badge kind="wait">{block.state.charAt(0).toUpperCase() + block.state.slice(1)}</Badge>;
  }
}

const STEPS: Record<string, string> = {
  found: 'Found',
  submitted: 'Submitted',
  accepted: 'Accepted',
  rejected: 'Rejected',
  orphaned: 'Orphaned: the chain went on without it',
  lost: 'Lost: no node took it',
};

function stepText({ step, node, detail }: BlockStep, needed: number): string {
  // A node's word on how deep it is; the public view has no numbers.
  if (step === 'confirmed') {
    if (detail === null) return 'Deeper in the chain';
    return Number(detail) >= needed ? `Confirmed, ${detail} deep` : `${detail} deep in the chain`;
  }
  const text = STEPS[step] ?? step;
  const where = node === null ? '' : step === 'submitted' ? ` to ${node}` : ` by ${node}`;
  return `${text}${where}${detail === null || detail === '' ? '' : `: ${detail}`}`;
}

function Life({ block }: { block: Block }) {
  return (
    <div class="life">
      <dl class="facts">
        <dt>Hash</dt>
        <dd>
          <span class="mono break" data-copy>
            {block.hash}
          </span>{' '}
          <Copy text={block.hash} what="the hash" />
        </dd>
        <dt>Difficulty reached</dt>
        <dd>{block.difficulty === null ? NONE : difficulty(block.difficulty)}</dd>
        <dt>Value</dt>
        <dd>{block.value === null ? NONE : bitcoin(block.value)}</dd>
      </dl>
      <ol class="steps">
        {block.life.map((step, at) => (
          <li key={at} class={step.step}>
            <span>{stepText(step, block.confirmations_needed)}</span> <time dateTime={new Date(step.at).toISOString()}>{moment(step.at)}</time>
          </li>
        ))}
      </ol>
    </div>
  );
}
