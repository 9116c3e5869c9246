//! State as bytes: little-endian, in the order of the fields; what is read back is equal to the bit, floats included.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use millrace_model::Timestamp;

/// Why bytes are no state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// They end too early.
    #[error("the state is cut off after {0} bytes")]
    CutOff(usize),
    /// They are not what this version writes.
    #[error("the state cannot be read: {0}; read the topics again instead")]
    Unreadable(&'static str),
}

/// Bytes that are still to be read.
#[derive(Debug)]
pub struct Bytes<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Bytes<'a> {
    /// From the beginning.
    pub fn new(all: &'a [u8]) -> Self {
        Bytes { all, at: 0 }
    }

    /// Nothing is left.
    pub fn is_over(&self) -> bool {
        self.at == self.all.len()
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], RestoreError> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.all.len());
        let end = end.ok_or(RestoreError::CutOff(self.all.len()))?;
        let taken = &self.all[self.at..end];
        self.at = end;
        Ok(taken)
    }
}

/// Can be written and read back.
pub trait Stored: Sized {
    /// Appends it.
    fn store(&self, out: &mut Vec<u8>);
    /// Reads it back.
    ///
    /// # Errors
    /// The bytes are no such thing.
    fn restore(from: &mut Bytes<'_>) -> Result<Self, RestoreError>;
}

macro_rules! stored_numbers {
    ($($number:ty),*) => {$(
        impl Stored for $number {
            fn store(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn restore(from: &mut Bytes<'_>) -> Result<Self, RestoreError> {
                let bytes = from.take(size_of::<$number>())?;
                Ok(<$number>::from_le_bytes(bytes.try_into().map_err(|_| RestoreError::Unreadable("a number"))?))
            }
        }
    )*};
}

stored_numbers!(u8, u32, u64, i64, f32, f64);

/// Writes and reads a struct field by field.
macro_rules! stored_fields {
    ($of:ty { $($field:ident),* $(,)? }) => {
        impl $crate::recommend::stored::Stored for $of {
            fn store(&self, out: &mut Vec<u8>) {
                $($crate::recommend::stored::Stored::store(&self.$field, out);)*
            }

            fn restore(
                from: &mut $crate::recommend::stored::Bytes<'_>,
            ) -> Result<Self, $crate::recommend::stored::RestoreError> {
                Ok(Self { $($field: $crate::recommend::stored::Stored::restore(from)?,)* })
            }
        }
    };
}
pub(crate) use stored_fields;

impl Stored for bool {
    fn store(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn restore(from: &mut Bytes<'_>) -> Result<Self, RestoreError> {
        Ok(u8::restore(from)? != 0)
    }
}

impl Stored for usize {
    fn store(&self, out: &mut Vec<u8>) {
        (*self as u64).store(out);
    }

    fn restore(from: &mut Bytes<'_>) -> Result<Self, RestoreError> {
        usize::try_from(u64::restore(from)?).map_err(|_| RestoreError::Unreadable("a size"))
    }
}

impl Stored for Timestamp {
    fn store(&self, out: &mut Vec<u8>) {
        self.0.store(out);
    }

    fn restore(from: &mut Bytes<'_>) -> Result<Self, RestoreError> {
        Ok(Timestamp(i64::restore(from)?))
    }
}

impl Stored for Arc<str> {
    fn store(&self, out: &mut Vec<u8>) {
        self.len().store(out);
        out.extend_from_slice(self.as_bytes());
    }

    fn restore(from: &mut Bytes<'_>) -> Result<Self, RestoreError> {
        let length = usize::restore(from)?;
        let text = std::str::from_utf8(from.take(length)?).map_err(|_| RestoreError::Unreadable("a name"))?;
        Ok(Arc::from(text))
    }
}

impl<A: Stored, B: Stored> Stored for (A, B) {
    fn store(&self, out: &mut Vec<u8>) {
        self.0.store(out);
        self.1.store(out);
    }

    fn restore(from: &mut Bytes<'_>) -> Result<Self, RestoreError> {
        Ok((A::restore(from)?, B::restore(from)?))
    }
}

impl<T: Stored> Stored for Option<T> {
    fn store(&self, out: &mut Vec<u8>) {
        self.is_some().store(out);
        self.iter().for_each(|value| value.store(out));
    }

    fn restore(from: &mut Bytes<'_>) -> Result<Self, RestoreError> {
        match bool::restore(from)? {
            true => Ok(Some(T::restore(from)?)),
            false => Ok(None),
        }
    }
}

impl<T: Stored> Stored for Vec<T> {
    fn store(&self, out: &mut Vec<u8>) {
        self.len().store(out);
        self.iter().for_each(|value| value.store(out));
    }

    fn restore(from: &mut Bytes<'_>) -> Result<Self, RestoreError> {
        let length = usize::restore(from)?;
        // A length that is wrong must not ask for memory before the bytes turn out to be missing.
        let mut values = Vec::with_capacity(length.min(from.all.len() - from.at));
        for _ in 0..length {
            values.push(T::restore(from)?);
        }
        Ok(values)
    }
}

impl<T: Stored> Stored for VecDeque<T> {
    fn store(&self, out: &mut Vec<u8>) {
        self.len().store(out);
        self.iter().for_each(|value| value.store(out));
    }

    fn restore(from: &mut Bytes<'_>) -> Result<Self, RestoreError> {
        Ok(Vec::restore(from)?.into())
    }
}

/// In the order of the keys: the same state, the same bytes.
impl<T: Stored> Stored for HashMap<u64, T> {
    fn store(&self, out: &mut Vec<u8>) {
        let mut keys: Vec<u64> = self.keys().copied().collect();
        keys.sort_unstable();
        keys.len().store(out);
        for key in keys {
            key.store(out);
            self.get(&key).iter().for_each(|value| value.store(out));
        }
    }

    fn restore(from: &mut Bytes<'_>) -> Result<Self, RestoreError> {
        Ok(Vec::<(u64, T)>::restore(from)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_what_is_cut_off_is_refused() {
        type Whole = (Vec<(u32, f32)>, (Option<Arc<str>>, (Timestamp, bool)));
        let value: Whole = (vec![(1, 0.1), (2, f32::MIN_POSITIVE)], (Some("ä".into()), (Timestamp(-5), true)));
        let mut out = Vec::new();
        value.store(&mut out);
        let mut bytes = Bytes::new(&out);
        assert_eq!(Whole::restore(&mut bytes), Ok(value));
        assert!(bytes.is_over());
        for end in 0..out.len() {
            assert!(Whole::restore(&mut Bytes::new(&out[..end])).is_err(), "cut off at {end}");
        }
    }
}
