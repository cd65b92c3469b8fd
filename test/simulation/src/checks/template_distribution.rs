//! sv2-spec §7.2 to §7.5: on each connection to a Template Provider ids of templates increase; a SetNewPrevHash names a future template
//! that was sent before, and comes before any template for the present tip; each request for transactions is answered once, with its id.
//! Neither end finds fault with the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use template_distribution_sv2::TemplateDistribution;

use super::{Check, Observation, Outcome, View};

#[derive(Debug, Default)]
struct Connection {
    last: Option<u64>,
    futures: BTreeSet<u64>,
    has_tip: bool,
    /// Requests without an answer, by template.
    requests: BTreeMap<u64, usize>,
}

#[derive(Default)]
pub struct TemplateDistributions(BTreeMap<u64, Connection>);

impl Check for TemplateDistributions {
    fn name(&self) -> &'static str {
        "template-distribution"
    }

    fn observe(&mut self, _now: Duration, _view: &View, observation: &Observation<'_>) -> Outcome {
        match observation {
            Observation::ToProvider { client, message: TemplateDistribution::RequestTransactionData(request) } => {
                *self.0.entry(*client).or_default().requests.entry(request.template_id).or_default() += 1;
            }
            Observation::FromProvider { client, message } => return self.0.entry(*client).or_default().told(message),
            Observation::ProviderGone { client } => {
                self.0.remove(client);
            }
            Observation::ProviderAtOdds { reason, .. } => return Err(reason.clone()),
            Observation::Over => {
                let mut left = self.0.values().flat_map(|connection| &connection.requests);
                if let Some((id, _)) = left.find(|(_, count)| **count > 0) {
                    return Err(format!("a request for the transactions of template {id} was never answered"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Connection {
    fn told(&mut self, message: &TemplateDistribution<'_>) -> Outcome {
        match message {
            TemplateDistribution::NewTemplate(template) => {
                let id = template.template_id;
                if self.last.replace(id).is_some_and(|last| last >= id) {
                    return Err(format!("template {id} does not come after the one before"));
                }
                if template.future_template {
                    self.futures.insert(id);
                } else if !self.has_tip {
                    return Err(format!("template {id} is for a tip that was never told"));
                }
            }
            TemplateDistribution::SetNewPrevHash(tip) => {
                let id = tip.template_id;
                if !self.futures.remove(&id) {
                    return Err(format!("SetNewPrevHash names template {id}, which is no future template"));
                }
                self.futures.retain(|future| *future > id);
                self.has_tip = true;
            }
            TemplateDistribution::RequestTransactionDataSuccess(data) => return self.answered(data.template_id),
            TemplateDistribution::RequestTransactionDataError(error) => return self.answered(error.template_id),
            other => return Err(format!("{} is for Template Providers", other.name())),
        }
        Ok(())
    }

    fn answered(&mut self, id: u64) -> Outcome {
        let left = self.requests.get_mut(&id).filter(|left| **left > 0);
        *left.ok_or_else(|| format!("transactions of template {id} answer no request"))? -= 1;
        Ok(())
    }
}
