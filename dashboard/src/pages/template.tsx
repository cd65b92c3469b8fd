/** What is mined at the moment. */

import { address, type CoinbaseOutput, type Template as TemplateData } from '../api';
import { amount, bitcoin, count, difficulty, moment, NONE, percent, size } from '../format';
import { useResource } from '../resource';
import { Copy, Failure, Loading, Panel, Stat, Time } from '../ui/basic';
import { type Column, Table } from '../ui/table';

/** The most that a block may weigh. */
const MAX_WEIGHT = 4_000_000;

export function Template() {
  const { data, failure } = useResource<TemplateData | null>(address('template'), 10, ['tip']);
  return (
    <>
      <h1>Template and job</h1>
      {failure && <Failure failure={failure} stale={data !== undefined} />}
      {data !== undefined ? <Content template={data} /> : !failure && <Loading />}
    </>
  );
}

function Content({ template }: { template: TemplateData | null }) {
  if (template === null) {
    return (
      <section class="panel welcome">
        <h2>No template yet</h2>
        <p>The pool waits for a node to tell what is to be mined. Miners that are connected wait, too.</p>
      </section>
    );
  }
  return <Known template={template} />;
}

function Known({ template }: { template: TemplateData }) {
  const outputs = template.coinbase_outputs.filter((output) => output.sats > 0 || output.address !== null);
  const columns: Column<CoinbaseOutput>[] = [
    {
      name: 'Pays',
      heading: true,
      cell: (output) => <span class="mono break">{output.address ?? `script ${output.script}`}</span>,
    },
    {
      name: 'Amount',
      number: true,
      cell: (output) => <span title={bitcoin(output.sats)}>{amount(output.sats)}</span>,
    },
    { name: 'Part', number: true, cell: (output) => percent(output.sats, template.value_sats) },
  ];
  return (
    <>
      <dl class="stats in-6">
        <Stat name="Height">{count(template.height)}</Stat>
        <Stat name="Value" note={<span title={bitcoin(template.value_sats)}>{count(template.value_sats)} sats</span>}>
          {amount(template.value_sats)}
        </Stat>
        <Stat name="Fees" note={template.fees_sats !== null && `${percent(template.fees_sats, template.value_sats)} of the value`}>
          {template.fees_sats === null ? NONE : amount(template.fees_sats)}
        </Stat>
        <Stat name="Transactions" note={template.empty ? 'none yet, the tip is new' : 'besides the coinbase'}>
          {template.transactions === null ? NONE : count(template.transactions)}
        </Stat>
        <Stat name="Template" note="received from the node">
          <Time at={template.received_at} />
        </Stat>
        <Stat name="Job" note="sent to the miners">
          <Time at={template.job_at} />
        </Stat>
      </dl>
      {template.weight !== null && (
        <Panel title="Block space" aside={<span class="quiet">{percent(template.weight, MAX_WEIGHT)} full</span>}>
          <meter
            min={0}
            max={MAX_WEIGHT}
            value={template.weight}
            aria-label={`${percent(template.weight, MAX_WEIGHT)} of the weight that a block may have`}
          />
          <p class="quiet">
            {size(template.weight, 'WU')} of {size(MAX_WEIGHT, 'WU')}
            {template.size !== null && `, ${size(template.size, 'B')} of transactions`}
            {template.sigops !== null && `, ${count(template.sigops)} signature operations`}
          </p>
        </Panel>
      )}
      <Panel title="The coinbase pays">
        <Table
          caption="Outputs of the coinbase"
          columns={columns}
          rows={outputs}
          rowKey={(output) => output.script}
          empty="No outputs are known."
        />
        <p class="quiet">
          This is the job of all who are paid by the pool. A solo miner’s job pays that miner’s address.
        </p>
      </Panel>
      <Panel title="Header">
        <dl class="facts">
          <dt>Builds on</dt>
          <dd>
            <span class="mono break" data-copy>
              {template.prev_hash}
            </span>{' '}
            <Copy text={template.prev_hash} what="the hash" />
          </dd>
          <dt>Network difficulty</dt>
          <dd>
            {difficulty(template.network_difficulty)} <span class="quiet mono">(nBits {template.nbits})</span>
          </dd>
          <dt>Earliest time</dt>
          <dd>{template.min_ntime > 0 ? moment(template.min_ntime * 1000) : NONE}</dd>
          <dt>Source</dt>
          <dd>{template.source}</dd>
          <dt>Template, job</dt>
          <dd>
            {template.template_id}, {template.job_id}
          </dd>
        </dl>
      </Panel>
    </>
  );
}
