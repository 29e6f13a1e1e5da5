//! Messages of the kernel about its rules, in one piece.

use netlink_packet_core::{NetlinkBuffer, NlasIterator};
use portsentry_testbed::Namespace;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, connect, recv, send, socket};

/// Types of requests about tables, chains, rules and sets, and about elements.
const LISTS: [u8; 4] = [1, 4, 7, 10];
const ELEMENTS: u8 = 13;

const DONE: u16 = 3;

/// Returns all tables, chains, rules, sets and elements of a namespace.
pub(crate) fn of(namespace: &Namespace) -> Vec<u8> {
    namespace.enter(|| {
        let mut all = Vec::new();
        for list in LISTS {
            all.extend(ask(list, 0, &[]));
        }
        let sets: Vec<(u8, Vec<u8>)> = messages(&ask(10, 0, &[]))
            .map(|message| {
                let attributes = NlasIterator::new(&message.payload()[4..]).map(Result::unwrap);
                // Table and name have the same types in requests about elements.
                let names = attributes.filter(|it| matches!(it.kind(), 1 | 2));
                let names = names.flat_map(|it| {
                    let length = usize::from(it.length());
                    let mut bytes = it.into_inner()[..length].to_vec();
                    bytes.resize(length.next_multiple_of(4), 0);
                    bytes
                });
                (message.payload()[0], names.collect())
            })
            .collect();
        for (family, names) in sets {
            all.extend(ask(ELEMENTS, family, &names));
        }
        all
    })
}

/// Returns the answer to a request, without the message at its end.
fn ask(kind: u8, family: u8, attributes: &[u8]) -> Vec<u8> {
    const REQUEST: u16 = 1;
    const DUMP: u16 = 0x300;
    const NF_TABLES: u8 = 10;
    let netlink = socket(AddressFamily::NETLINK, SocketType::RAW, Some(NETFILTER)).unwrap();
    connect(&netlink, &SocketAddrNetlink::new(0, 0)).unwrap();
    let length = 20 + attributes.len() as u32;
    let mut request = length.to_ne_bytes().to_vec();
    request.extend(u16::from_ne_bytes([kind, NF_TABLES]).to_ne_bytes());
    request.extend((REQUEST | DUMP).to_ne_bytes());
    request.extend([0; 8]);
    request.extend([family, 0, 0, 0]);
    request.extend_from_slice(attributes);
    send(&netlink, &request, SendFlags::empty()).unwrap();
    let (mut answer, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        let (length, _) = recv(&netlink, &mut buffer, RecvFlags::empty()).unwrap();
        for message in messages(&buffer[..length]) {
            let (kind, length) = (message.message_type(), message.length() as usize);
            match kind {
                DONE => return answer,
                _ => answer.extend_from_slice(&message.into_inner()[..length]),
            }
        }
    }
}

fn messages(bytes: &[u8]) -> impl Iterator<Item = NetlinkBuffer<&[u8]>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let message = NetlinkBuffer::new_checked(rest).ok()?;
        rest = rest.get((message.length() as usize).next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}
