//! Converts between the parameters of a network and those of its towers.
//!
//! The first dimension of every parameter is that of a layer's filters or units, which the towers
//! share evenly. So a tower's share of a parameter is a contiguous range of its values. No value is
//! on two towers.

use super::Towers;
use crate::layer_of;
use std::ops::Range;

/// The name of a parameter or velocity, and its values.
pub type NamedValues = (String, Vec<f32>);

/// Why parameters cannot be divided among towers or merged.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The number of values is not a multiple of the number of towers.
    #[error("`{name}` has {len} values, which {towers} towers cannot share evenly")]
    Uneven {
        /// The parameter.
        name: String,
        /// Its number of values.
        len: usize,
        /// Number of towers.
        towers: usize,
    },
    /// A tower lacks a parameter of the first tower, or has it in another size.
    #[error("tower {tower} has no `{name}` of {len} values: these are not one network's towers")]
    Missing {
        /// The tower, from 0.
        tower: usize,
        /// The parameter.
        name: String,
        /// The expected number of values.
        len: usize,
    },
}

impl Towers {
    /// The range of a parameter's `len` values that is on `tower`: an equal share. For a layer that
    /// is on the first tower only: all of them on the first tower, `None` on the others.
    ///
    /// # Errors
    /// [`WeightsError::Uneven`].
    pub fn share(
        &self,
        name: &str,
        len: usize,
        tower: usize,
    ) -> Result<Option<Range<usize>>, WeightsError> {
        let towers = self.specs.len();
        if self.is_first_only(name) {
            return Ok((tower == 0).then_some(0..len));
        }
        if !len.is_multiple_of(towers) {
            return Err(WeightsError::Uneven { name: name.to_string(), len, towers });
        }
        Ok(Some(tower * len / towers..(tower + 1) * len / towers))
    }

    /// Number of values of a parameter in the whole network, given `len` on the first tower.
    pub fn whole_len(&self, name: &str, len: usize) -> usize {
        if self.is_first_only(name) { len } else { len * self.specs.len() }
    }

    fn is_first_only(&self, parameter: &str) -> bool {
        self.first_only.iter().any(|name| name == layer_of(parameter))
    }

    /// Extracts a tower's parameters from the whole network's.
    ///
    /// # Errors
    /// [`WeightsError::Uneven`].
    pub fn take(
        &self,
        whole: &[NamedValues],
        tower: usize,
    ) -> Result<Vec<NamedValues>, WeightsError> {
        let mut taken = Vec::new();
        for (name, values) in whole {
            if let Some(share) = self.share(name, values.len(), tower)? {
                taken.push((name.clone(), values[share].to_vec()));
            }
        }
        Ok(taken)
    }

    /// Merges the towers' parameters into the whole network's, in the first tower's order.
    ///
    /// # Errors
    /// [`WeightsError::Missing`] if these are not the towers of one network.
    ///
    /// # Panics
    /// If `towers` has another number of towers.
    pub fn merge(&self, towers: &[Vec<NamedValues>]) -> Result<Vec<NamedValues>, WeightsError> {
        assert_eq!(towers.len(), self.specs.len(), "one list of parameters per tower");
        let mut merged = Vec::new();
        for (name, first) in &towers[0] {
            let mut values = first.clone();
            if !self.is_first_only(name) {
                for (tower, parameters) in towers.iter().enumerate().skip(1) {
                    let same_name = parameters.iter().find(|(other, _)| other == name);
                    let matching = same_name.filter(|(_, share)| share.len() == first.len());
                    let Some((_, share)) = matching else {
                        let (name, len) = (name.clone(), first.len());
                        return Err(WeightsError::Missing { tower, name, len });
                    };
                    values.extend_from_slice(share);
                }
            }
            merged.push((name.clone(), values));
        }
        Ok(merged)
    }
}
