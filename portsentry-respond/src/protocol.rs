//! What packet process and responder say to each other, as bytes.
//!
//! One datagram is one message, of a fixed layout: a byte for its kind, then its
//! fields, numbers in the order of the machine, and at most one text or block of
//! bytes, which goes to the end. Whoever reads takes the bytes for hostile: a
//! message is what it says to the last byte, or it is [`Malformed`]. There is no
//! way to write a command or a path in a request.

mod notice;
mod wire;

use portsentry_core::{Mode, Outcome, Protocol};
use portsentry_report::{Notice, Report};

use crate::actions::command::ProbeContext;
use crate::answer::Answer;
use crate::error::LoadError;
use crate::pool::Unfinished;
pub use wire::{MAX_MESSAGE, MAX_TEXT, Malformed};
use wire::{Reader, block, numbered, put_address, put_event, put_text};

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

#[cfg(test)]
mod tests;
