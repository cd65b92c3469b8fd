use std::sync::atomic::{AtomicBool, Ordering};

use template_source::{COMMAND_QUEUE, Capabilities, EVENT_QUEUE, Subscription};

use super::*;

/// A source that has no templates, and that takes its time to end.
#[derive(Default)]
struct SlowToEnd(Arc<AtomicBool>);

impl TemplateSource for SlowToEnd {
    fn name(&self) -> &str {
        "slow"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { raw_blocks: false }
    }

    fn subscribe(&self, _: template_source::Constraints) -> Subscription {
        let (sender, events) = mpsc::channel(EVENT_QUEUE);
        let (commands, queue) = mpsc::channel(COMMAND_QUEUE);
        let ended = self.0.clone();
        tokio::spawn(async move {
            sender.closed().await;
            for _ in 0..1_000 {
                tokio::task::yield_now().await;
            }
            ended.store(true, Ordering::SeqCst);
            drop(queue);
        });
        Subscription { events, commands }
    }
}

#[tokio::test]
async fn a_pool_has_ended_when_its_sources_have() {
    let folder = tempfile::tempdir().unwrap();
    let config = PoolConfig { data_dir: folder.path().to_owned(), ..crate::testing::config() };
    let source = SlowToEnd::default();
    let (ended, shutdown) = (source.0.clone(), Shutdown::new());
    let pool = Pool::start(&config, vec![Arc::new(source)], shutdown.clone()).await.unwrap();
    shutdown.cancel();
    pool.join().await;
    assert!(ended.load(Ordering::SeqCst));
}
