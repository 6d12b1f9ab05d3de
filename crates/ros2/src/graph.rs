//! How rmw_zenoh writes a ROS 2 graph in zenoh's keys: `docs/design.md` of
//! [ros2/rmw_zenoh](https://github.com/ros2/rmw_zenoh).
//!
//! # Conventions
//!
//! A message travels on `<domain>/<topic>/<type>/<hash>`. Nodes and publishers are known by liveliness
//! tokens below `@ros2_lv`, where `%` stands for the slashes inside a name.

use twox_hash::XxHash3_128;

use crate::messages::Message;
use crate::names::DomainId;

/// What stands for a type's hash where the distribution has none: Humble.
const NO_HASH: &str = "TypeHashNotSupported";

/// Node and publishers have no security enclave.
const ENCLAVE: &str = "%";

/// How a topic is kept and carried, as its subscribers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qos {
    /// The newest of each frame's results.
    Results,
    /// Pictures, of which some may be missing.
    Pictures,
    /// What holds until it is said anew, for those who come late, too.
    Latched,
    /// Reports.
    Reports,
}

impl Qos {
    /// `reliability:durability:history,depth:deadline:lifespan:liveliness`. rmw_zenoh leaves out its
    /// defaults, which have changed; written out they mean the same to each version.
    fn code(self) -> &'static str {
        match self {
            Qos::Results => "1:2:1,1:,:,:,,",
            Qos::Pictures => "2:2:1,1:,:,:,,",
            Qos::Latched => "1:1:1,1:,:,:,,",
            Qos::Reports => "1:2:1,10:,:,:,,",
        }
    }
}

/// A node in the graph.
#[derive(Clone, Debug)]
pub(crate) struct NodeName {
    pub(crate) domain_id: DomainId,
    /// Of the zenoh session.
    pub(crate) zid: String,
    pub(crate) namespace: String,
    pub(crate) name: &'static str,
}

/// A type as a key names it.
pub(crate) struct TypeKey {
    name: String,
    hash: &'static str,
}

impl TypeKey {
    pub(crate) fn of<M: Message>(with_hash: bool) -> TypeKey {
        TypeKey {
            name: dds_name(M::TYPE_NAME),
            hash: if with_hash { M::TYPE_HASH } else { NO_HASH },
        }
    }
}

/// `std_msgs/msg/Header` as DDS calls it.
fn dds_name(type_name: &str) -> String {
    let (path, name) = type_name.rsplit_once('/').expect("package/msg/Name");
    format!("{}::dds_::{name}_", path.replace('/', "::"))
}

pub(crate) fn topic_key(domain_id: DomainId, topic: &str, of: &TypeKey) -> String {
    format!("{domain_id}/{}/{}/{}", topic.trim_matches('/'), of.name, of.hash)
}

pub(crate) fn node_token(node: &NodeName) -> String {
    let NodeName { domain_id, zid, namespace, name } = node;
    format!("@ros2_lv/{domain_id}/{zid}/0/0/NN/{ENCLAVE}/{}/{name}", mangled(namespace))
}

pub(crate) fn publisher_token(
    node: &NodeName,
    entity_id: u32,
    topic: &str,
    of: &TypeKey,
    qos: Qos,
) -> String {
    let NodeName { domain_id, zid, namespace, name } = node;
    let (namespace, topic) = (mangled(namespace), mangled(topic));
    format!(
        "@ros2_lv/{domain_id}/{zid}/0/{entity_id}/MP/{ENCLAVE}/{namespace}/{name}/{topic}/{}/{}/{}",
        of.name,
        of.hash,
        qos.code()
    )
}

/// The tokens of all publishers of a domain.
pub(crate) fn publisher_tokens(domain_id: DomainId) -> String {
    format!("@ros2_lv/{domain_id}/*/*/*/MP/**")
}

/// Who publishes on which topic, as a token says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublisherSeen {
    pub(crate) zid: String,
    pub(crate) node: String,
    pub(crate) topic: String,
}

/// `None` for a token of another form.
pub(crate) fn read_publisher_token(token: &str) -> Option<PublisherSeen> {
    let parts: Vec<&str> = token.split('/').collect();
    let ["@ros2_lv", _, zid, _, _, "MP", _, namespace, node, topic, ..] = parts[..] else {
        return None;
    };
    let namespace = namespace.replace('%', "/");
    Some(PublisherSeen {
        zid: zid.to_owned(),
        node: format!("{}/{node}", namespace.trim_end_matches('/')),
        topic: topic.replace('%', "/"),
    })
}

fn mangled(name: &str) -> String {
    name.replace('/', "%")
}

/// By which subscribers tell publishers apart: a hash of the publisher's token.
pub(crate) fn gid(token: &str) -> [u8; 16] {
    // The low half first: little-endian as a whole.
    XxHash3_128::oneshot(token.as_bytes()).to_le_bytes()
}

/// What goes with each message: its number, when it was sent, and by whom.
pub(crate) fn attachment(sequence: i64, sent_unix_ns: i64, gid: &[u8; 16]) -> Vec<u8> {
    let length = [16];
    [&sequence.to_le_bytes()[..], &sent_unix_ns.to_le_bytes(), &length, gid].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::Header;

    fn node(namespace: &str, name: &'static str) -> NodeName {
        NodeName {
            domain_id: DomainId::new(2).unwrap(),
            zid: "aac3178e146ba6f1fc6e6a4085e77f21".into(),
            namespace: namespace.into(),
            name,
        }
    }

    fn string() -> TypeKey {
        TypeKey {
            name: dds_name("std_msgs/msg/String"),
            hash: "RIHS01_df668c740482bbd48fb39d76a70dfd4bd59db1288021743503259e948f6b1a18",
        }
    }

    /// The examples of rmw_zenoh's design page.
    #[test]
    fn keys_are_those_of_rmw_zenoh() {
        let domain = DomainId::new(0).unwrap();
        assert_eq!(
            topic_key(domain, "/chatter", &string()),
            "0/chatter/std_msgs::msg::dds_::String_/\
             RIHS01_df668c740482bbd48fb39d76a70dfd4bd59db1288021743503259e948f6b1a18"
        );
        assert_eq!(
            topic_key(domain, "/a/b", &TypeKey::of::<Header>(false)),
            "0/a/b/std_msgs::msg::dds_::Header_/TypeHashNotSupported"
        );
        assert_eq!(
            node_token(&node("/", "listener")),
            "@ros2_lv/2/aac3178e146ba6f1fc6e6a4085e77f21/0/0/NN/%/%/listener"
        );
        assert_eq!(
            publisher_token(&node("/", "listener"), 10, "/chatter", &string(), Qos::Reports),
            "@ros2_lv/2/aac3178e146ba6f1fc6e6a4085e77f21/0/10/MP/%/%/listener/%chatter/\
             std_msgs::msg::dds_::String_/\
             RIHS01_df668c740482bbd48fb39d76a70dfd4bd59db1288021743503259e948f6b1a18/\
             1:2:1,10:,:,:,,"
        );
    }

    #[test]
    fn a_publisher_is_known_by_its_token_and_other_tokens_are_not_one() {
        let node = node("/magpie/dock", "magpie");
        let token = publisher_token(&node, 3, "/magpie/dock/grasps", &string(), Qos::Results);
        let seen = PublisherSeen {
            zid: node.zid.clone(),
            node: "/magpie/dock/magpie".into(),
            topic: "/magpie/dock/grasps".into(),
        };
        assert_eq!(read_publisher_token(&token), Some(seen));
        assert_eq!(read_publisher_token(&node_token(&node)), None);
        let elsewhere = token.replace("@ros2_lv", "@ros2");
        for odd in ["", "/", "@ros2_lv/0/x/0/1/MP", "a/b/c/d/e/MP/g/h/i", &elsewhere] {
            assert_eq!(read_publisher_token(odd), None, "{odd}");
        }
    }

    #[test]
    fn who_sent_a_message_is_a_hash_of_its_token() {
        // XXH3's own test vector, the low half first.
        let empty = 0x99aa_06d3_0147_98d8_6001_c324_468d_497f_u128;
        assert_eq!(gid(""), empty.to_le_bytes());
        let attached = attachment(1, 258, &[9; 16]);
        assert_eq!(attached[..17], [1, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 16]);
        assert_eq!(attached[17..], [9; 16]);
    }
}
