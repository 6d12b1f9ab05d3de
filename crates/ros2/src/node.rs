//! A node on the ROS side of the network: its session with the router, and its publishers.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use magpie_network::{NetworkError, ZenohConfig, close, open};
use magpie_perception::BoxError;
use magpie_wire::printable;
use zenoh::bytes::Encoding;
use zenoh::liveliness::LivelinessToken;
use zenoh::pubsub::Subscriber;
use zenoh::qos::CongestionControl;
use zenoh::query::{Query, Queryable};
use zenoh::sample::{Sample, SampleKind};
use zenoh::{Session, Wait};

use crate::cdr::encode;
use crate::graph::{
    NodeName, PublisherSeen, Qos, TypeKey, attachment, gid, node_token, publisher_token,
    publisher_tokens, read_publisher_token, topic_key,
};
use crate::messages::Message;
use crate::names::{DomainId, Namespace};

/// So many strangers on our topics are remembered, the newest.
const RIVALS_MAX: usize = 16;
/// A longer token is no ROS program's.
const TOKEN_BYTES_MAX: usize = 2048;
/// So much of a stranger's name is shown.
const SHOWN_CHARS_MAX: usize = 100;

const NODE_NAME: &str = "magpie";

/// Where the node is in a ROS graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeOptions {
    /// A zenoh endpoint of the router.
    pub router: String,
    pub domain_id: DomainId,
    pub namespace: Namespace,
    /// `false` for Humble, whose types have no hashes.
    pub type_hashes: bool,
}

/// Why the ROS side of the network cannot be joined.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error(
        "no ROS 2 router answers at {router}; start one with `ros2 run rmw_zenoh_cpp rmw_zenohd`, or name \
         another in [ros2] router"
    )]
    Router {
        router: String,
        #[source]
        source: BoxError,
    },
    #[error("declare {key} on the ROS 2 router")]
    Declare {
        key: String,
        #[source]
        source: zenoh::Error,
    },
}

/// The router takes nothing any more.
#[derive(Debug, thiserror::Error)]
#[error("publish {key} to the ROS 2 router")]
pub struct TellError {
    key: String,
    #[source]
    source: zenoh::Error,
}

/// Another program that publishes on one of our topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rival {
    pub node: String,
    pub topic: String,
}

/// Leaves the graph when it is dropped.
pub struct Node {
    session: Session,
    name: NodeName,
    namespace: Namespace,
    type_hashes: bool,
    publishers: u32,
    /// What it publishes in its namespace.
    own_topics: Vec<String>,
    tokens: Vec<LivelinessToken>,
}

impl Node {
    /// Blocks for up to two seconds where no router answers.
    ///
    /// # Errors
    /// If none does.
    pub fn join(options: &NodeOptions) -> Result<Node, JoinError> {
        let zenoh = ZenohConfig::Connect(vec![options.router.clone()]);
        let session = open(&zenoh).map_err(|error| {
            let source = match error {
                NetworkError::Connect { source, .. } => source,
                other => other.into(),
            };
            JoinError::Router { router: options.router.clone(), source }
        })?;
        let name = NodeName {
            domain_id: options.domain_id,
            zid: session.zid().to_string(),
            namespace: options.namespace.to_string(),
            name: NODE_NAME,
        };
        let tokens = vec![declare_token(&session, node_token(&name))?];
        Ok(Node {
            session,
            name,
            namespace: options.namespace.clone(),
            type_hashes: options.type_hashes,
            publishers: 0,
            own_topics: Vec::new(),
            tokens,
        })
    }

    /// A publisher of a topic in the node's namespace, or of one elsewhere, which begins with a slash.
    ///
    /// # Errors
    /// If the session was closed.
    pub fn publisher<M: Message>(
        &mut self,
        topic: &str,
        qos: Qos,
    ) -> Result<Publisher<M>, JoinError> {
        self.publishers += 1;
        let of = TypeKey::of::<M>(self.type_hashes);
        let topic = if topic.starts_with('/') {
            topic.to_owned()
        } else {
            self.own_topics.push(self.namespace.topic(topic));
            self.namespace.topic(topic)
        };
        let key = topic_key(self.name.domain_id, &topic, &of);
        let builder = self
            .session
            .declare_publisher(key.clone())
            .encoding(Encoding::APPLICATION_CDR)
            .congestion_control(CongestionControl::Drop);
        let declared = |source| JoinError::Declare { key: key.clone(), source };
        let publisher = builder.wait().map_err(declared)?;
        let token = publisher_token(&self.name, self.publishers, &topic, &of, qos);
        let gid = gid(&token);
        let latch = match qos {
            Qos::Latched => Some(Latch::declare(&self.session, &publisher)?),
            _ => None,
        };
        self.tokens.push(declare_token(&self.session, token)?);
        Ok(Publisher { publisher, gid, sequence: 0, latch, of: PhantomData })
    }

    /// Whether the router still answers.
    pub fn is_connected(&self) -> bool {
        let info = self.session.info();
        info.routers_zid().wait().next().is_some() || info.peers_zid().wait().next().is_some()
    }

    /// Looks from now on for others on the topics that the node publishes in its namespace by now. On
    /// topics elsewhere others may publish, too.
    ///
    /// # Errors
    /// If the session was closed.
    pub fn rivals(&self) -> Result<Rivals, JoinError> {
        let strangers = Arc::new(Strangers::new(self.name.zid.clone(), self.own_topics.clone()));
        let noted = Arc::clone(&strangers);
        let note = move |sample: Sample| {
            noted.note(sample.key_expr().as_str(), sample.kind() == SampleKind::Put);
        };
        let key = publisher_tokens(self.name.domain_id);
        let listener =
            self.session.liveliness().declare_subscriber(&key).history(true).callback(note).wait();
        let listener = listener.map_err(|source| JoinError::Declare { key, source })?;
        Ok(Rivals { strangers, _listener: listener })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        close(&self.session);
    }
}

fn declare_token(session: &Session, key: String) -> Result<LivelinessToken, JoinError> {
    let token = session.liveliness().declare_token(&key).wait();
    token.map_err(|source| JoinError::Declare { key, source })
}

/// Publishes on one topic.
pub struct Publisher<M> {
    publisher: zenoh::pubsub::Publisher<'static>,
    gid: [u8; 16],
    sequence: i64,
    latch: Option<Latch>,
    of: PhantomData<fn(&M)>,
}

impl<M: Message> Publisher<M> {
    /// Whether somebody has subscribed.
    pub fn is_wanted(&self) -> bool {
        self.publisher.matching_status().wait().is_ok_and(|status| status.matching())
    }

    /// # Errors
    /// If the session was closed.
    pub fn publish(&mut self, message: &M, now_unix_ns: u64) -> Result<(), TellError> {
        self.sequence += 1;
        let now_unix_ns = i64::try_from(now_unix_ns).unwrap_or(i64::MAX);
        let attached = attachment(self.sequence, now_unix_ns, &self.gid);
        let bytes = encode(message);
        if let Some(latch) = &self.latch {
            *latch.kept() = Some(Kept { message: bytes.clone(), attached: attached.clone() });
        }
        let put = self.publisher.put(bytes).attachment(attached).wait();
        put.map_err(|source| TellError { key: self.publisher.key_expr().to_string(), source })
    }
}

/// The newest message, for subscribers that come late: the cache of zenoh's advanced publisher, as far
/// as its subscribers ask for it.
struct Latch {
    kept: Arc<Mutex<Option<Kept>>>,
    _queryable: Queryable<()>,
    /// Tells subscribers that were there first that they can ask.
    _token: LivelinessToken,
}

struct Kept {
    message: Vec<u8>,
    attached: Vec<u8>,
}

impl Latch {
    fn declare(
        session: &Session,
        publisher: &zenoh::pubsub::Publisher<'static>,
    ) -> Result<Latch, JoinError> {
        let topic = publisher.key_expr().clone();
        let id = publisher.id();
        let key = format!("{topic}/@adv/pub/{}/{}/_", id.zid(), id.eid());
        let kept = Arc::new(Mutex::new(None::<Kept>));
        let (answered, answered_key) = (Arc::clone(&kept), topic.to_string());
        let answer = move |query: Query| {
            let kept = answered.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(Kept { message, attached }) = kept.as_ref() else { return };
            let reply = query.reply(answered_key.clone(), message.clone());
            if let Err(error) = reply.attachment(attached.clone()).wait() {
                tracing::debug!(%error, "a late subscriber of ROS 2 got no answer");
            }
        };
        let queryable = session.declare_queryable(key.clone()).callback(answer).wait();
        let queryable =
            queryable.map_err(|source| JoinError::Declare { key: key.clone(), source })?;
        let token = declare_token(session, key)?;
        Ok(Latch { kept, _queryable: queryable, _token: token })
    }

    fn kept(&self) -> MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who else publishes on a node's topics.
pub struct Rivals {
    strangers: Arc<Strangers>,
    _listener: Subscriber<()>,
}

impl Rivals {
    /// The one of those that are there that came first.
    pub fn first(&self) -> Option<Rival> {
        self.strangers.first()
    }
}

/// Publishers of others on our topics.
struct Strangers {
    own_zid: String,
    own_topics: Vec<String>,
    /// With their tokens, in the order of coming.
    seen: Mutex<VecDeque<(String, Rival)>>,
}

impl Strangers {
    fn new(own_zid: String, own_topics: Vec<String>) -> Strangers {
        Strangers { own_zid, own_topics, seen: Mutex::default() }
    }

    fn first(&self) -> Option<Rival> {
        self.seen().front().map(|(_, rival)| rival.clone())
    }

    fn note(&self, token: &str, is_there: bool) {
        let mut seen = self.seen();
        seen.retain(|(known, _)| known != token);
        if !is_there || token.len() > TOKEN_BYTES_MAX {
            return;
        }
        let Some(PublisherSeen { zid, node, topic }) = read_publisher_token(token) else { return };
        if zid == self.own_zid || !self.own_topics.contains(&topic) {
            return;
        }
        if seen.len() >= RIVALS_MAX {
            seen.pop_front();
        }
        let shown = |name: &str| printable(name).chars().take(SHOWN_CHARS_MAX).collect::<String>();
        seen.push_back((token.to_owned(), Rival { node: shown(&node), topic: shown(&topic) }));
    }

    fn seen(&self) -> MutexGuard<'_, VecDeque<(String, Rival)>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strangers() -> Strangers {
        let own_topics = ["/magpie/dock/grasps", "/magpie/dock/camera/image/compressed"];
        Strangers::new("a1".into(), own_topics.map(str::to_owned).into())
    }

    fn token(zid: &str, node: &str, topic: &str) -> String {
        format!("@ros2_lv/0/{zid}/0/1/MP/%/%/{node}/{topic}/T/H/Q")
    }

    #[test]
    fn strangers_on_our_topics_are_told_until_they_go_and_their_names_are_fit_to_be_shown() {
        let strangers = strangers();
        strangers.note(&token("a1", "magpie", "%magpie%dock%grasps"), true);
        strangers.note(&token("b2", &"n".repeat(9000), "%magpie%dock%grasps"), true);
        strangers.note("@ros2_lv/0", true);
        assert_eq!(strangers.first(), None);
        let stranger = token("b2", &format!("\u{1b}[2J{}", "n".repeat(200)), "%magpie%dock%grasps");
        strangers.note(&stranger, true);
        let Rival { node, topic } = strangers.first().unwrap();
        assert!(node.starts_with("/\\u001b[2J") && node.len() <= 100, "{node}");
        assert_eq!(topic, "/magpie/dock/grasps");
        strangers.note(&stranger, false);
        assert_eq!(strangers.first(), None);
    }

    #[test]
    fn others_may_publish_beside_our_topics() {
        let strangers = strangers();
        for topic in [
            "%magpie%dock_2%grasps",
            "%magpie%dock%camera%image",
            "%magpie%dock%grasps%best",
            "%magpie%dock",
            "%grasps",
        ] {
            strangers.note(&token("b2", "driver", topic), true);
            assert_eq!(strangers.first(), None, "{topic}");
        }
        strangers.note(&token("b2", "driver", "%magpie%dock%camera%image%compressed"), true);
        assert_eq!(strangers.first().unwrap().topic, "/magpie/dock/camera/image/compressed");
    }

    #[test]
    fn of_too_many_strangers_the_newest_are_remembered() {
        let strangers = strangers();
        let numbered = |number: usize| token("b2", &format!("n{number}"), "%magpie%dock%grasps");
        for number in 0..1000 {
            strangers.note(&numbered(number), true);
            // What is told again is no other.
            strangers.note(&numbered(number), true);
        }
        assert_eq!(strangers.seen().len(), RIVALS_MAX);
        assert_eq!(strangers.first().unwrap().node, format!("/n{}", 1000 - RIVALS_MAX));
        for number in 0..999 {
            strangers.note(&numbered(number), false);
        }
        assert_eq!(strangers.first().unwrap().node, "/n999");
    }
}
