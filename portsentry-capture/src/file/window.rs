//! The part of a stream that is in memory.

use std::io::{self, ErrorKind, Read};

/// Initial size of the buffer, in bytes.
const CHUNK: usize = 64 * 1024;

/// A sliding window over a stream: bytes are read at its end and consumed at its start.
#[derive(Debug)]
pub(super) struct Window<R> {
    reader: R,
    buffer: Vec<u8>,
    /// The unread bytes are `buffer[start..end]`.
    start: usize,
    end: usize,
    /// Position of `start` in the stream.
    offset: u64,
}

impl<R: Read> Window<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, buffer: vec![0; CHUNK], start: 0, end: 0, offset: 0 }
    }

    /// Returns the bytes that were read and not consumed.
    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Returns the position of [`Self::bytes`] in the stream.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Drops the first `length` bytes, or all if there are fewer.
    pub(super) fn consume(&mut self, length: usize) {
        let length = length.min(self.end - self.start);
        self.start += length;
        self.offset += length as u64;
    }

    /// Reads until the window has at least `length` bytes. Returns `false` if the stream ends
    /// before. The buffer grows only as bytes are read, so a wrong `length` allocates nothing.
    pub(super) fn fill(&mut self, length: usize) -> io::Result<bool> {
        while self.end - self.start < length {
            if self.start > 0 {
                self.buffer.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            }
            if self.end == self.buffer.len() {
                self.buffer.resize(self.buffer.len() * 2, 0);
            }
            if self.read()? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Drops the next `length` bytes of the stream. Returns `false` if the stream ends before;
    /// then the offset remains at the start of the skipped bytes.
    pub(super) fn skip(&mut self, length: u64) -> io::Result<bool> {
        let start = self.offset;
        let mut left = length;
        loop {
            let available = (self.end - self.start) as u64;
            let dropped = available.min(left);
            self.consume(dropped as usize);
            left -= dropped;
            if left == 0 {
                return Ok(true);
            }
            (self.start, self.end) = (0, 0);
            if self.read()? == 0 {
                self.offset = start;
                return Ok(false);
            }
        }
    }

    fn read(&mut self) -> io::Result<usize> {
        let space = self.buffer.get_mut(self.end..).unwrap_or_default();
        loop {
            match self.reader.read(space) {
                Ok(length) => {
                    // A faulty reader may report more bytes than the buffer has.
                    let length = length.min(space.len());
                    self.end += length;
                    return Ok(length);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns at most `piece` bytes at a time, and is sometimes interrupted.
    struct Pieces<'a> {
        left: &'a [u8],
        piece: usize,
        calls: usize,
    }

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.calls += 1;
            if self.calls.is_multiple_of(3) {
                return Err(ErrorKind::Interrupted.into());
            }
            let length = self.piece.min(buffer.len()).min(self.left.len());
            buffer[..length].copy_from_slice(&self.left[..length]);
            self.left = &self.left[length..];
            Ok(length)
        }
    }

    #[derive(Clone, Debug)]
    enum Move {
        Fill(usize),
        Consume(usize),
        Skip(u64),
    }

    fn moves() -> impl Strategy<Value = Vec<Move>> {
        let length = prop_oneof![0..40usize, 60_000..200_000usize];
        prop::collection::vec(
            prop_oneof![
                length.clone().prop_map(Move::Fill),
                length.clone().prop_map(Move::Consume),
                length.prop_map(|length| Move::Skip(length as u64)),
            ],
            1..20,
        )
    }

    proptest! {
        /// The window agrees with a slice of the whole stream and a position in it.
        #[test]
        fn a_window_agrees_with_the_stream(
            total in prop_oneof![0..100usize, 100_000..300_000usize],
            piece in prop_oneof![1000..5000usize, 50_000..200_000usize],
            moves in moves(),
        ) {
            let stream: Vec<u8> = (0..total).map(|index| (index / 251 + index) as u8).collect();
            let mut window = Window::new(Pieces { left: &stream, piece, calls: 0 });
            let mut position = 0;
            for step in moves {
                match step {
                    Move::Fill(length) => {
                        let there = window.fill(length).unwrap();
                        prop_assert_eq!(there, length <= total - position);
                        prop_assert_eq!(there, window.bytes().len() >= length);
                    }
                    Move::Consume(length) => {
                        let length = length.min(window.bytes().len());
                        window.consume(length);
                        position += length;
                    }
                    Move::Skip(length) => {
                        let there = length <= (total - position) as u64;
                        prop_assert_eq!(window.skip(length).unwrap(), there);
                        if !there {
                            break;
                        }
                        position += length as usize;
                    }
                }
                prop_assert_eq!(window.offset(), position as u64);
                let expected = &stream[position..position + window.bytes().len()];
                prop_assert!(window.bytes() == expected);
            }
            prop_assert_eq!(window.offset(), position as u64);
        }
    }

    #[test]
    fn a_large_request_allocates_nothing() {
        let mut window = Window::new(&[0; 100][..]);
        assert!(!window.fill(1 << 40).unwrap());
        assert_eq!(window.buffer.len(), CHUNK);
    }

    #[test]
    fn an_impossible_length_of_a_reader_is_limited() {
        struct Faulty;

        impl Read for Faulty {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                Ok(buffer.len() + 7)
            }
        }

        let mut window = Window::new(Faulty);
        for _ in 0..2 {
            assert!(window.fill(CHUNK).unwrap());
            assert_eq!(window.bytes().len(), CHUNK);
            window.consume(1);
        }
    }
}
