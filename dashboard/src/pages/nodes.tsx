/** The nodes that templates come from and blocks go to. */

import { address, type Node } from '../api';
import { count, NONE } from '../format';
import { useResource } from '../resource';
import { Badge, Failure, Loading, Panel, Time } from '../ui/basic';
import { type Column, Table } from '../ui/table';

const COLUMNS: Column<Node>[] = [
  {
    name: 'Node',
    heading: true,
    cell: (node) => (
      <span class="wrap">
        {node.description} <span class="quiet">{node.kind}</span>
      </span>
    ),
  },
  {
    name: 'State',
    cell: (node) => (
      <>
        {node.state === 'up' ? <Badge kind="good">Up</Badge> : <Badge kind="bad">Down</Badge>}{' '}
        {node.active && <Badge kind="plain">Active</Badge>}
      </>
    ),
  },
  { name: 'Height', number: true, cell: (node) => (node.height === null ? NONE : count(node.height)) },
  { name: 'Since', number: true, cell: (node) => <Time at={node.since} /> },
  {
    name: 'Takes blocks',
    cell: (node) =>
      node.raw_blocks ? 'any' : node.solutions ? 'of its own templates' : 'none',
  },
];

export function Nodes() {
  const { data, failure } = useResource<Node[]>(address('nodes'), 15, ['node', 'tip']);
  const raw = data?.some((node) => node.raw_blocks) ?? true;
  return (
    <>
      <h1>Nodes</h1>
      {failure && <Failure failure={failure} stale={data !== undefined} />}
      {!raw && (
        <p class="failure" role="note">
          No node takes any block: a block is lost when the node that made its template is gone. Add one over IPC or RPC.
        </p>
      )}
      {data ? (
        <Panel title="In order of preference">
          <Table
            caption="Nodes, in order of preference"
            columns={COLUMNS}
            rows={data}
            rowKey={(node) => node.index}
            empty="No node is configured."
            detail={(node) => node.problem && <p class="problem">{node.problem}</p>}
          />
        </Panel>
      ) : (
        !failure && <Loading />
      )}
    </>
  );
}
