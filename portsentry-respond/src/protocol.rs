//! What packet process and responder say to each other, as bytes.
//!
//! One datagram is one message, of a fixed layout: a byte for its kind, then its
//! fields, numbers in the order of the machine, and at most one text or block of
//! bytes, which goes to the end. Whoever reads takes the bytes for hostile: a
//! message is what it says to the last byte, or it is [`Malformed`]. There is no
//! way to write a command or a path in a request.

mod notice;

use std::net::IpAddr;

use portsentry_core::{Instant, Mode, Outcome, Protocol};
use portsentry_report::{Action, ActionEvent, Notice, Report};

use crate::actions::command::ProbeContext;
use crate::answer::Answer;
use crate::error::LoadError;
use crate::pool::Unfinished;

/// Bytes of the longest message.
pub const MAX_MESSAGE: usize = 1 << 15;

/// Bytes of a text or block in a message, at most; longer texts are cut.
pub const MAX_TEXT: usize = MAX_MESSAGE - 64;

/// What the packet process can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Do what the configuration in force says about this probe. The number
    /// comes back in [`Message::Completed`].
    Respond(u64, ProbeContext),
    /// Read the configuration, open the files that it names, and tell of them. The
    /// number, which is not 0, comes back in the answer.
    Load(u32),
    /// Put what was loaded under this number in force.
    Adopt(u32),
    /// Begin nothing more, end what runs, and say so.
    Close,
}

/// What the responder says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Something about a response that is under way.
    Report(Report),
    /// The end of a response, or the refusal to start it.
    Completed(u64, Answer),
    /// A notice for the log, one of those that a responder has: [`Notice::HistoryCreated`],
    /// [`Notice::HistoryMissing`], [`Notice::RecordTruncated`] or [`Notice::Message`]. Others are
    /// sent as a message with the same text.
    Notice(Notice),
    /// A file of the configuration was read. [`Content`](Self::Content) follows.
    File {
        /// The number of the request.
        number: u32,
        /// Bytes of the content.
        length: u64,
        /// The path.
        path: Vec<u8>,
    },
    /// The next bytes of that file.
    Content(Vec<u8>),
    /// The next records of the blocked file.
    Blocked(Vec<u8>),
    /// Networks that are never acted on, each with a blank behind it. They take
    /// the place of those told before, or go on with them.
    NeverBlock {
        /// Whether they go on.
        more: bool,
        /// The networks.
        networks: String,
    },
    /// All was read that was asked for under this number. If it is said so, the
    /// open history comes along.
    Loaded {
        /// The number of the request.
        number: u32,
        /// Whether there is a history.
        history: bool,
    },
    /// It cannot be read or opened.
    Refused {
        /// The number of the request; 0 if nothing can be, ever.
        number: u32,
        /// The reason.
        why: LoadError,
    },
    /// The answer to [`Request::Close`].
    Closed(Unfinished),
    /// The history of this path was removed; the one that was begun in its place
    /// comes along.
    History(Vec<u8>),
}

/// Bytes that are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a malformed message")]
pub struct Malformed;

impl Request {
    /// The request as bytes, at most 32 of them.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Respond(id, ProbeContext { target, port, mode, protocol }) => {
                let mut bytes = vec![1];
                bytes.extend_from_slice(&id.to_ne_bytes());
                bytes.push(match protocol {
                    Protocol::Tcp => 6,
                    Protocol::Udp => 17,
                });
                bytes.push(match mode {
                    Mode::Stealth => 0,
                    Mode::Connect => 1,
                });
                bytes.extend_from_slice(&port.to_ne_bytes());
                put_address(&mut bytes, *target);
                bytes
            }
            Self::Load(number) => numbered(2, *number),
            Self::Adopt(number) => numbered(3, *number),
            Self::Close => vec![4],
        }
    }

    /// The request that `bytes` are.
    ///
    /// # Errors
    ///
    /// [`Malformed`] for anything that [`encode`](Self::encode) does not give.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut bytes = Reader(bytes);
        let request = match bytes.byte()? {
            1 => {
                let id = u64::from_ne_bytes(bytes.array()?);
                let protocol = match bytes.byte()? {
                    6 => Protocol::Tcp,
                    17 => Protocol::Udp,
                    _ => return Err(Malformed),
                };
                let mode = match bytes.byte()? {
                    0 => Mode::Stealth,
                    1 => Mode::Connect,
                    _ => return Err(Malformed),
                };
                let port = u16::from_ne_bytes(bytes.array()?);
                Self::Respond(id, ProbeContext { target: bytes.address()?, port, mode, protocol })
            }
            2 => Self::Load(u32::from_ne_bytes(bytes.array()?)),
            3 => Self::Adopt(u32::from_ne_bytes(bytes.array()?)),
            4 => Self::Close,
            _ => return Err(Malformed),
        };
        bytes.end().map(|()| request)
    }
}

impl Message {
    /// The message as at most [`MAX_MESSAGE`] bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Report(Report { host, what }) => {
                let mut bytes = vec![1];
                put_address(&mut bytes, *host);
                put_event(&mut bytes, what);
                bytes
            }
            Self::Completed(id, answer) => {
                let mut bytes = vec![2];
                bytes.extend_from_slice(&id.to_ne_bytes());
                match answer {
                    Answer::Ended(outcome) => {
                        bytes.push(u8::from(*outcome == Outcome::Succeeded));
                    }
                    Answer::Refused { limit, until } => {
                        bytes.push(2);
                        bytes.extend_from_slice(&limit.to_ne_bytes());
                        bytes.extend_from_slice(&until.as_nanos().to_ne_bytes());
                    }
                }
                bytes
            }
            Self::Notice(notice) => notice::encode(notice),
            Self::File { number, length, path } => {
                let mut bytes = numbered(4, *number);
                bytes.extend_from_slice(&length.to_ne_bytes());
                bytes.extend_from_slice(path.get(..MAX_TEXT).unwrap_or(path));
                bytes
            }
            Self::Content(content) => block(5, content),
            Self::Blocked(records) => block(6, records),
            Self::NeverBlock { more, networks } => {
                let mut bytes = vec![7, u8::from(*more)];
                put_text(&mut bytes, networks);
                bytes
            }
            Self::Loaded { number, history } => {
                let mut bytes = numbered(8, *number);
                bytes.push(u8::from(*history));
                bytes
            }
            Self::Refused { number, why } => {
                let mut bytes = numbered(9, *number);
                let (kind, text) = match why {
                    LoadError::Configuration(text) => (0, text),
                    LoadError::Other(text) => (1, text),
                };
                bytes.push(kind);
                put_text(&mut bytes, text);
                bytes
            }
            Self::Closed(Unfinished { not_started, not_finished }) => {
                let mut bytes = vec![10];
                for number in [*not_started, *not_finished] {
                    let number = u32::try_from(number).unwrap_or(u32::MAX);
                    bytes.extend_from_slice(&number.to_ne_bytes());
                }
                bytes
            }
            Self::History(path) => block(11, path),
        }
    }

    /// The message that `bytes` are.
    ///
    /// # Errors
    ///
    /// [`Malformed`] for anything that [`encode`](Self::encode) does not give.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > MAX_MESSAGE {
            return Err(Malformed);
        }
        let mut bytes = Reader(bytes);
        let message = match bytes.byte()? {
            1 => Self::Report(Report { host: bytes.address()?, what: bytes.event()? }),
            2 => Self::Completed(u64::from_ne_bytes(bytes.array()?), bytes.answer()?),
            3 => Self::Notice(notice::decode(&mut bytes)?),
            4 => Self::File {
                number: u32::from_ne_bytes(bytes.array()?),
                length: u64::from_ne_bytes(bytes.array()?),
                path: bytes.rest()?,
            },
            5 => Self::Content(bytes.rest()?),
            6 => Self::Blocked(bytes.rest()?),
            7 => Self::NeverBlock { more: bytes.flag()?, networks: bytes.text()? },
            8 => {
                let number = u32::from_ne_bytes(bytes.array()?);
                Self::Loaded { number, history: bytes.flag()? }
            }
            9 => {
                let number = u32::from_ne_bytes(bytes.array()?);
                let why = match bytes.byte()? {
                    0 => LoadError::Configuration(bytes.text()?),
                    1 => LoadError::Other(bytes.text()?),
                    _ => return Err(Malformed),
                };
                Self::Refused { number, why }
            }
            10 => {
                let mut number = || Ok(u32::from_ne_bytes(bytes.array()?) as usize);
                Self::Closed(Unfinished { not_started: number()?, not_finished: number()? })
            }
            11 => Self::History(bytes.rest()?),
            _ => return Err(Malformed),
        };
        bytes.end().map(|()| message)
    }
}

fn put_address(bytes: &mut Vec<u8>, address: IpAddr) {
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

/// As much of `text` as a message holds.
fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend_from_slice(cut(text, MAX_TEXT).as_bytes());
}

/// As much of `text` as fits into `limit` bytes, in whole characters.
fn cut(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or(text)
}

fn numbered(kind: u8, number: u32) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&number.to_ne_bytes());
    bytes
}

fn block(kind: u8, content: &[u8]) -> Vec<u8> {
    let content = content.get(..MAX_TEXT).unwrap_or(content);
    let mut bytes = Vec::with_capacity(1 + content.len());
    bytes.push(kind);
    bytes.extend_from_slice(content);
    bytes
}

/// Each action stands at the place of its number.
const ACTIONS: [Action; 3] = [Action::Route, Action::HostsDeny, Action::Command];

const fn number(action: Action) -> u8 {
    match action {
        Action::Route => 0,
        Action::HostsDeny => 1,
        Action::Command => 2,
    }
}

fn put_event(bytes: &mut Vec<u8>, what: &ActionEvent) {
    let (kind, action, text) = match what {
        ActionEvent::Done(action, text) => (0, Some(*action), text.as_str()),
        ActionEvent::Failed(action, why) => (1, Some(*action), why.as_str()),
        ActionEvent::AlreadyDenied => (2, None, ""),
        ActionEvent::NothingWorked => (3, None, ""),
        ActionEvent::Output(text) => (4, None, text.as_str()),
        ActionEvent::NotRecorded(why) => (5, None, why.as_str()),
        ActionEvent::Refused(why) => (6, None, why.as_str()),
    };
    bytes.push(kind);
    bytes.extend(action.map(number));
    put_text(bytes, text);
}

/// What is left of a message.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (array, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*array)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn flag(&mut self) -> Result<bool, Malformed> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }

    fn address(&mut self) -> Result<IpAddr, Malformed> {
        match self.byte()? {
            4 => Ok(self.array::<4>()?.into()),
            6 => Ok(self.array::<16>()?.into()),
            _ => Err(Malformed),
        }
    }

    /// All that is left, no longer than a block may be.
    fn rest(&mut self) -> Result<Vec<u8>, Malformed> {
        let rest = std::mem::take(&mut self.0);
        if rest.len() > MAX_TEXT { Err(Malformed) } else { Ok(rest.to_vec()) }
    }

    fn text(&mut self) -> Result<String, Malformed> {
        String::from_utf8(self.rest()?).map_err(|_| Malformed)
    }

    fn answer(&mut self) -> Result<Answer, Malformed> {
        match self.byte()? {
            0 => Ok(Answer::Ended(Outcome::Failed)),
            1 => Ok(Answer::Ended(Outcome::Succeeded)),
            2 => {
                let limit = u32::from_ne_bytes(self.array()?);
                let until = Instant::from_nanos(u64::from_ne_bytes(self.array()?));
                Ok(Answer::Refused { limit, until })
            }
            _ => Err(Malformed),
        }
    }

    fn action(&mut self) -> Result<Action, Malformed> {
        let number = self.byte()?;
        ACTIONS.get(usize::from(number)).copied().ok_or(Malformed)
    }

    fn event(&mut self) -> Result<ActionEvent, Malformed> {
        match self.byte()? {
            0 => Ok(ActionEvent::Done(self.action()?, self.text()?)),
            1 => Ok(ActionEvent::Failed(self.action()?, self.text()?)),
            2 => Ok(ActionEvent::AlreadyDenied),
            3 => Ok(ActionEvent::NothingWorked),
            4 => Ok(ActionEvent::Output(self.text()?)),
            5 => Ok(ActionEvent::NotRecorded(self.text()?)),
            6 => Ok(ActionEvent::Refused(self.text()?)),
            _ => Err(Malformed),
        }
    }

    fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

#[cfg(test)]
mod tests;
