//! Converts between the weights of a network and those of its towers.
//!
//! Filters and units are the first dimension of every parameter, so a tower's share is a contiguous
//! range of it. No value is on two towers.

use super::Towers;
use std::ops::Range;

/// The name of a parameter or velocity, and its values.
pub type NamedValues = (String, Vec<f32>);

/// Weights that do not belong to this network.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeightsError {
    /// A parameter that cannot be divided.
    #[error("`{name}` has {len} values, which {towers} towers cannot share evenly")]
    Uneven {
        /// The parameter.
        name: String,
        /// Its number of values.
        len: usize,
        /// Number of towers.
        towers: usize,
    },
    /// Towers with different parameters.
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
    /// The range of a parameter of `len` values that is on a tower: an equal share, or for layers of
    /// the first tower all of it there and nothing elsewhere.
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

    /// Number of values of a parameter on all towers, given `len` on one.
    pub fn whole_len(&self, name: &str, len: usize) -> usize {
        if self.is_first_only(name) { len } else { len * self.specs.len() }
    }

    fn is_first_only(&self, parameter: &str) -> bool {
        let layer = parameter.rsplit_once('.').map_or(parameter, |(layer, _)| layer);
        self.first_only.iter().any(|name| name == layer)
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
    /// If the number of towers differs.
    pub fn merge(&self, towers: &[Vec<NamedValues>]) -> Result<Vec<NamedValues>, WeightsError> {
        assert_eq!(towers.len(), self.specs.len(), "parameters for each tower");
        let mut merged = Vec::new();
        for (name, first) in &towers[0] {
            let mut values = first.clone();
            if !self.is_first_only(name) {
                for (tower, parameters) in towers.iter().enumerate().skip(1) {
                    let of_that_name = parameters.iter().find(|(other, _)| other == name);
                    let fits = of_that_name.filter(|(_, share)| share.len() == first.len());
                    let Some((_, share)) = fits else {
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
