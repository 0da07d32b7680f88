//! Between the weights of a network and those of its towers.
//!
//! Filters and units come first in every parameter's shape: a tower's share is a run of it, and no
//! number is anywhere twice.

use super::Towers;
use std::ops::Range;

/// A parameter's name, or that of a velocity, and its numbers.
pub type Named = (String, Vec<f32>);

/// Weights that are not those of this network.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeightsError {
    /// A parameter that cannot be divided.
    #[error("`{name}` has {len} numbers, which {towers} towers cannot share evenly")]
    Uneven {
        /// The parameter.
        name: String,
        /// How many numbers it has.
        len: usize,
        /// The towers.
        towers: usize,
    },
    /// Towers with different parameters.
    #[error("tower {tower} has no `{name}` of {len} numbers: these are not one network's towers")]
    Missing {
        /// The tower, from 0.
        tower: usize,
        /// The parameter.
        name: String,
        /// How many numbers were expected.
        len: usize,
    },
}

impl Towers {
    /// The numbers of a parameter with `len` numbers that are on a tower: all of the first's own,
    /// an equal share of the others.
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

    /// Numbers that a parameter has on all towers together, if it has `len` on one.
    pub fn whole_len(&self, name: &str, len: usize) -> usize {
        if self.is_first_only(name) { len } else { len * self.specs.len() }
    }

    fn is_first_only(&self, parameter: &str) -> bool {
        let layer = parameter.rsplit_once('.').map_or(parameter, |(layer, _)| layer);
        self.first_only.iter().any(|name| name == layer)
    }

    /// A tower's parameters out of the whole network's.
    ///
    /// # Errors
    /// [`WeightsError::Uneven`].
    pub fn take(&self, whole: &[Named], tower: usize) -> Result<Vec<Named>, WeightsError> {
        let mut taken = Vec::new();
        for (name, values) in whole {
            if let Some(share) = self.share(name, values.len(), tower)? {
                taken.push((name.clone(), values[share].to_vec()));
            }
        }
        Ok(taken)
    }

    /// The whole network's parameters out of its towers', in the first tower's order.
    ///
    /// # Errors
    /// [`WeightsError::Missing`] if these are not the towers of one network.
    ///
    /// # Panics
    /// If there are more or fewer towers.
    pub fn merge(&self, towers: &[Vec<Named>]) -> Result<Vec<Named>, WeightsError> {
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
