//! The fields of messages as bytes.

use std::net::IpAddr;

use ipnet::IpNet;
use portsentry_core::{Instant, Outcome, PreventionScope, Protocol, TranslatedPorts};
use portsentry_report::{Action, ActionEvent, Prevented};

use crate::answer::Answer;

/// Bytes of the longest message.
pub const MAX_MESSAGE: usize = 1 << 15;

/// Bytes of a text or block in a message, at most; longer ones are cut.
pub const MAX_TEXT: usize = MAX_MESSAGE - 64;

/// Entries of translated ports in a message, at most; each has at most 23 bytes.
pub const MAX_PORTS: usize = 1024;

/// Bytes that are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a malformed message")]
pub struct Malformed;

pub(super) fn put_address(bytes: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => {
            bytes.push(4);
            bytes.extend_from_slice(&v4.octets());
        }
        IpAddr::V6(v6) => {
            bytes.push(6);
            bytes.extend_from_slice(&v6.octets());
        }
    }
}

pub(super) fn put_ports(bytes: &mut Vec<u8>, ports: &TranslatedPorts) {
    bytes.push(match ports.protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
    });
    bytes.extend_from_slice(&ports.first.to_ne_bytes());
    bytes.extend_from_slice(&ports.last.to_ne_bytes());
    bytes.push(ports.destinations.prefix_len());
    put_address(bytes, ports.destinations.network());
}

/// Returns as much of `text` as a message holds.
pub(super) fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend_from_slice(cut(text, MAX_TEXT).as_bytes());
}

/// Returns as much of `text` as fits into `limit` bytes, in whole characters.
pub(super) fn cut(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or(text)
}

pub(super) fn numbered(kind: u8, number: u32) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&number.to_ne_bytes());
    bytes
}

pub(super) fn block(kind: u8, content: &[u8]) -> Vec<u8> {
    let content = content.get(..MAX_TEXT).unwrap_or(content);
    let mut bytes = Vec::with_capacity(1 + content.len());
    bytes.push(kind);
    bytes.extend_from_slice(content);
    bytes
}

/// Returns the index of an action in [`Action::ALL`].
pub(super) const fn number(action: Action) -> u8 {
    match action {
        Action::Route => 0,
        Action::HostsDeny => 1,
        Action::Command => 2,
    }
}

/// The index of a scope is its number in a message.
pub(super) const SCOPES: [PreventionScope; 3] =
    [PreventionScope::Port, PreventionScope::Host, PreventionScope::AllHosts];

pub(super) fn scope_number(scope: PreventionScope) -> u8 {
    // A later scope of the engine is sent as the narrowest one.
    SCOPES.iter().position(|known| *known == scope).unwrap_or_default() as u8
}

/// Appends a reason of fixed length: its number and one value.
fn put_prevented(bytes: &mut Vec<u8>, why: Prevented) {
    let (number, value) = match why {
        Prevented::NeverBlock => (0, 0),
        Prevented::OwnAddress => (1, 0),
        Prevented::Gateway => (2, 0),
        Prevented::NameServer => (3, 0),
        Prevented::Connected { port } => (4, port.into()),
        Prevented::Served { port } => (5, port.into()),
        Prevented::JustStarted { seconds } => (7, seconds),
        Prevented::Translated { port } => (8, port.into()),
        // Also for a reason that this version does not know.
        _ => (6, 0_u32),
    };
    bytes.push(number);
    bytes.extend_from_slice(&value.to_ne_bytes());
}

pub(super) fn put_event(bytes: &mut Vec<u8>, what: &ActionEvent) {
    match what {
        ActionEvent::Prevented(why) => {
            bytes.push(7);
            put_prevented(bytes, *why);
        }
        ActionEvent::Incomplete(actions) => {
            let bits = actions.iter().fold(0, |bits, action| bits | 1 << number(*action));
            bytes.extend([8, bits]);
        }
        _ => {}
    }
    let (kind, action, text) = match what {
        ActionEvent::Done(action, text) => (0, Some(*action), text.as_str()),
        ActionEvent::Failed(action, why) => (1, Some(*action), why.as_str()),
        ActionEvent::AlreadyDenied => (2, None, ""),
        ActionEvent::NothingWorked => (3, None, ""),
        ActionEvent::Output(text) => (4, None, text.as_str()),
        ActionEvent::NotRecorded(why) => (5, None, why.as_str()),
        ActionEvent::Refused(why) => (6, None, why.as_str()),
        ActionEvent::Prevented(_) | ActionEvent::Incomplete(_) => return,
    };
    bytes.push(kind);
    bytes.extend(action.map(number));
    put_text(bytes, text);
}

/// The remaining bytes of a message.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl Reader<'_> {
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (array, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*array)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn flag(&mut self) -> Result<bool, Malformed> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }

    pub(super) fn address(&mut self) -> Result<IpAddr, Malformed> {
        match self.byte()? {
            4 => Ok(self.array::<4>()?.into()),
            6 => Ok(self.array::<16>()?.into()),
            _ => Err(Malformed),
        }
    }

    pub(super) fn ports(&mut self) -> Result<TranslatedPorts, Malformed> {
        let protocol = match self.byte()? {
            6 => Protocol::Tcp,
            17 => Protocol::Udp,
            _ => return Err(Malformed),
        };
        let first = u16::from_ne_bytes(self.array()?);
        let last = u16::from_ne_bytes(self.array()?);
        let length = self.byte()?;
        let destinations = IpNet::new(self.address()?, length).map_err(|_| Malformed)?;
        if first > last || destinations != destinations.trunc() {
            return Err(Malformed);
        }
        Ok(TranslatedPorts::new(protocol, first..=last, destinations))
    }

    /// Returns all remaining bytes, at most as many as a block may have.
    pub(super) fn rest(&mut self) -> Result<Vec<u8>, Malformed> {
        let rest = std::mem::take(&mut self.0);
        if rest.len() > MAX_TEXT { Err(Malformed) } else { Ok(rest.to_vec()) }
    }

    pub(super) fn text(&mut self) -> Result<String, Malformed> {
        String::from_utf8(self.rest()?).map_err(|_| Malformed)
    }

    pub(super) fn answer(&mut self) -> Result<Answer, Malformed> {
        match self.byte()? {
            0 => Ok(Answer::Ended(Outcome::Failed)),
            1 => Ok(Answer::Ended(Outcome::Succeeded)),
            4 => Ok(Answer::Ended(Outcome::Partial)),
            2 => {
                let limit = u32::from_ne_bytes(self.array()?);
                let until = Instant::from_nanos(u64::from_ne_bytes(self.array()?));
                Ok(Answer::Refused { limit, until })
            }
            3 => {
                let number = usize::from(self.byte()?);
                let scope = *SCOPES.get(number).ok_or(Malformed)?;
                let until = Instant::from_nanos(u64::from_ne_bytes(self.array()?));
                Ok(Answer::Prevented { scope, until })
            }
            _ => Err(Malformed),
        }
    }

    pub(super) fn action(&mut self) -> Result<Action, Malformed> {
        let number = self.byte()?;
        Action::ALL.get(usize::from(number)).copied().ok_or(Malformed)
    }

    pub(super) fn event(&mut self) -> Result<ActionEvent, Malformed> {
        match self.byte()? {
            0 => Ok(ActionEvent::Done(self.action()?, self.text()?)),
            1 => Ok(ActionEvent::Failed(self.action()?, self.text()?)),
            2 => Ok(ActionEvent::AlreadyDenied),
            3 => Ok(ActionEvent::NothingWorked),
            4 => Ok(ActionEvent::Output(self.text()?)),
            5 => Ok(ActionEvent::NotRecorded(self.text()?)),
            6 => Ok(ActionEvent::Refused(self.text()?)),
            7 => Ok(ActionEvent::Prevented(self.prevented()?)),
            8 => self.actions().map(ActionEvent::Incomplete),
            _ => Err(Malformed),
        }
    }

    /// Returns a set of actions, in the order of [`Action::ALL`]: some, but not all.
    fn actions(&mut self) -> Result<Vec<Action>, Malformed> {
        let bits = self.byte()?;
        let all = (1 << Action::ALL.len()) - 1;
        if bits == 0 || bits >= all {
            return Err(Malformed);
        }
        let actions = Action::ALL.iter().copied();
        Ok(actions.filter(|action| bits & 1 << number(*action) != 0).collect())
    }

    fn prevented(&mut self) -> Result<Prevented, Malformed> {
        let (number, value) = (self.byte()?, u32::from_ne_bytes(self.array()?));
        let port = || u16::try_from(value).map_err(|_| Malformed);
        Ok(match (number, value) {
            (0, 0) => Prevented::NeverBlock,
            (1, 0) => Prevented::OwnAddress,
            (2, 0) => Prevented::Gateway,
            (3, 0) => Prevented::NameServer,
            (4, _) => Prevented::Connected { port: port()? },
            (5, _) => Prevented::Served { port: port()? },
            (6, 0) => Prevented::Unknown,
            (7, seconds) => Prevented::JustStarted { seconds },
            (8, _) => Prevented::Translated { port: port()? },
            _ => return Err(Malformed),
        })
    }

    pub(super) fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}
