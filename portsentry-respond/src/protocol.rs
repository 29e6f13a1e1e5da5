//! Messages between the packet process and the responder, as bytes.
//!
//! One datagram is one message with a fixed layout: a byte for its kind, then its fields, and at
//! most one text or block of bytes, which extends to the end. Numbers have the byte order of the
//! machine. The reader does not trust the bytes: every byte must belong to a valid message, or the
//! result is [`Malformed`]. A request cannot contain a command or a path.

mod notice;
mod wire;

use portsentry_core::{Mode, Outcome, Protocol, TranslatedPorts};
use portsentry_report::{Notice, Report};

use crate::answer::Answer;
use crate::error::LoadError;
use crate::pool::Unfinished;
use crate::probe_context::ProbeContext;
pub use wire::{MAX_MESSAGE, MAX_PORTS, MAX_TEXT, Malformed};
use wire::{Reader, block, numbered, put_address, put_event, put_ports, put_text, scope_number};

/// Requests of the packet process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Respond to this probe as the configuration in force defines. [`Message::Completed`] returns
    /// the number.
    Respond(u64, ProbeContext),
    /// Read the configuration, open the files that it names, and send them. The number, which is
    /// not 0, is part of the answer.
    Load(u32),
    /// Put the configuration that was loaded under this number in force.
    Adopt(u32),
    /// Start nothing more, end running responses, and answer [`Message::Closed`].
    Close,
}

/// Messages of the responder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// An event of a running response.
    Report(Report),
    /// The end of a response, or the refusal to start it.
    Completed(u64, Answer),
    /// A notice for the log: [`Notice::HistoryCreated`], [`Notice::HistoryMissing`],
    /// [`Notice::RecordTruncated`] or [`Notice::Message`]. Any other notice is sent as a message
    /// with the same text.
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
    /// Networks that are never responded to, each followed by a blank. They replace the networks of
    /// earlier messages, or extend them.
    NeverBlock {
        /// Whether the networks extend those of the last message.
        more: bool,
        /// The networks.
        networks: String,
    },
    /// Request `number` is loaded. If `history` is set, the history file descriptor is attached.
    Loaded {
        /// The number of the request.
        number: u32,
        /// Whether there is a history.
        history: bool,
    },
    /// The configuration cannot be loaded.
    Refused {
        /// The number of the request; 0 if the responder cannot run at all.
        number: u32,
        /// The reason.
        why: LoadError,
    },
    /// The answer to [`Request::Close`].
    Closed(Unfinished),
    /// Ports that rules of the packet filter translate. They replace those of earlier messages, or
    /// extend them.
    Translated {
        /// Whether the ports extend those of the last message.
        more: bool,
        /// Whether no further ports follow.
        last: bool,
        /// The ports, at most [`MAX_PORTS`].
        ports: Vec<TranslatedPorts>,
    },
    /// The history file at this path was removed; the descriptor of the file that replaces it is
    /// attached.
    History(Vec<u8>),
}

impl Request {
    /// Returns the request as bytes, at most 53 of them.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Respond(id, probe) => {
                let ProbeContext { target, source_port, local, port, interface, mode, protocol } =
                    *probe;
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
                bytes.extend_from_slice(&source_port.to_ne_bytes());
                bytes.extend_from_slice(&interface.to_ne_bytes());
                put_address(&mut bytes, target);
                put_address(&mut bytes, local);
                bytes
            }
            Self::Load(number) => numbered(2, *number),
            Self::Adopt(number) => numbered(3, *number),
            Self::Close => vec![4],
        }
    }

    /// Returns the request that `bytes` encode.
    ///
    /// # Errors
    ///
    /// [`Malformed`] for bytes that [`encode`](Self::encode) never returns.
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
                let source_port = u16::from_ne_bytes(bytes.array()?);
                let interface = u32::from_ne_bytes(bytes.array()?);
                let (target, local) = (bytes.address()?, bytes.address()?);
                Self::Respond(
                    id,
                    ProbeContext { target, source_port, local, port, interface, mode, protocol },
                )
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
    /// Returns the message as at most [`MAX_MESSAGE`] bytes.
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
                        bytes.push(match outcome {
                            Outcome::Succeeded => 1,
                            Outcome::Partial => 4,
                            _ => 0,
                        });
                    }
                    Answer::Refused { limit, until } => {
                        bytes.push(2);
                        bytes.extend_from_slice(&limit.to_ne_bytes());
                        bytes.extend_from_slice(&until.as_nanos().to_ne_bytes());
                    }
                    Answer::Prevented { scope, until } => {
                        bytes.extend([3, scope_number(*scope)]);
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
            Self::Translated { more, last, ports } => {
                let mut bytes = vec![12, u8::from(*more), u8::from(*last)];
                ports.iter().take(MAX_PORTS).for_each(|ports| put_ports(&mut bytes, ports));
                bytes
            }
        }
    }

    /// Returns the message that `bytes` encode.
    ///
    /// # Errors
    ///
    /// [`Malformed`] for bytes that [`encode`](Self::encode) never returns.
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
            12 => {
                let (more, last) = (bytes.flag()?, bytes.flag()?);
                let mut ports = Vec::new();
                while !bytes.0.is_empty() {
                    ports.push(bytes.ports()?);
                }
                if ports.len() > MAX_PORTS {
                    return Err(Malformed);
                }
                Self::Translated { more, last, ports }
            }
            _ => return Err(Malformed),
        };
        bytes.end().map(|()| message)
    }
}

#[cfg(test)]
mod tests;
