//! The coding of ROS 2 messages: CDR, as DDS has it.
//!
//! # Conventions
//!
//! Little-endian. Four bytes say so, and then each number stands at a multiple of its own size,
//! counted from after these four bytes. A string has its length, the zero at its end included; a
//! sequence has its number of elements.

/// CDR, little-endian, no options.
const ENCAPSULATION: [u8; 4] = [0, 1, 0, 0];

/// What a message is written into.
#[derive(Debug)]
pub struct CdrWriter {
    bytes: Vec<u8>,
}

impl CdrWriter {
    fn put<const N: usize>(&mut self, value: [u8; N]) {
        let at = self.bytes.len() - ENCAPSULATION.len();
        self.bytes.resize(ENCAPSULATION.len() + at.next_multiple_of(N), 0);
        self.bytes.extend_from_slice(&value);
    }

    fn put_length(&mut self, length: usize) {
        self.put(u32::try_from(length).expect("messages are megabytes at most").to_le_bytes());
    }
}

/// A value that has a coding.
pub trait Encode {
    fn encode(&self, to: &mut CdrWriter);

    /// The elements of an array or a sequence.
    fn encode_all(items: &[Self], to: &mut CdrWriter)
    where
        Self: Sized,
    {
        items.iter().for_each(|item| item.encode(to));
    }
}

pub fn encode(message: &impl Encode) -> Vec<u8> {
    let mut to = CdrWriter { bytes: ENCAPSULATION.to_vec() };
    message.encode(&mut to);
    to.bytes
}

macro_rules! encode_numbers {
    ($($number:ty)*) => {
        $(impl Encode for $number {
            fn encode(&self, to: &mut CdrWriter) {
                to.put(self.to_le_bytes());
            }
        })*
    };
}
encode_numbers!(i8 i16 u16 i32 u32 i64 u64 f32 f64);

impl Encode for u8 {
    fn encode(&self, to: &mut CdrWriter) {
        to.bytes.push(*self);
    }

    /// Pictures are sequences of bytes.
    fn encode_all(items: &[u8], to: &mut CdrWriter) {
        to.bytes.extend_from_slice(items);
    }
}

impl Encode for bool {
    fn encode(&self, to: &mut CdrWriter) {
        to.bytes.push(u8::from(*self));
    }
}

impl Encode for String {
    fn encode(&self, to: &mut CdrWriter) {
        to.put_length(self.len() + 1);
        to.bytes.extend_from_slice(self.as_bytes());
        to.bytes.push(0);
    }
}

impl<T: Encode> Encode for Vec<T> {
    fn encode(&self, to: &mut CdrWriter) {
        to.put_length(self.len());
        T::encode_all(self, to);
    }
}

impl<T: Encode, const N: usize> Encode for [T; N] {
    fn encode(&self, to: &mut CdrWriter) {
        T::encode_all(self, to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::{Header, Time};

    fn check(message: &impl Encode, body: &[u8]) {
        assert_eq!(encode(message), [&[0, 1, 0, 0], body].concat());
    }

    #[test]
    fn a_string_has_its_length_with_the_zero_at_its_end() {
        let header = Header { stamp: Time { sec: 1, nanosec: 258 }, frame_id: "ab".into() };
        check(&header, &[1, 0, 0, 0, 2, 1, 0, 0, 3, 0, 0, 0, b'a', b'b', 0]);
    }

    #[test]
    fn a_number_stands_at_a_multiple_of_its_size_after_the_first_four_bytes() {
        struct Mixed(u8, f64, bool, u16);
        impl Encode for Mixed {
            fn encode(&self, to: &mut CdrWriter) {
                self.0.encode(to);
                self.1.encode(to);
                self.2.encode(to);
                self.3.encode(to);
            }
        }
        let one = 1f64.to_le_bytes();
        let body = [&[7, 0, 0, 0, 0, 0, 0, 0], &one[..], &[1, 0, 2, 1]].concat();
        check(&Mixed(7, 1.0, true, 258), &body);
    }

    #[test]
    fn a_sequence_has_its_number_of_elements_and_an_array_has_none() {
        check(&vec![1u16, 2], &[2, 0, 0, 0, 1, 0, 2, 0]);
        check(&Vec::<f64>::new(), &[0; 4]);
        check(&[1u16, 2], &[1, 0, 2, 0]);
        check(&vec![3u8, 4], &[2, 0, 0, 0, 3, 4]);
    }
}
