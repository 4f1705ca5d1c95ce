r"""Theory against posterior: closed-form predictions measured in units of the Monte Carlo standard error.

The posterior mean of a test output is known up to its Monte Carlo standard error (MCSE), so that

.. math:: z(x) = \frac{\bar f_{\mathrm{theory}}(x) - \bar f_{\mathrm{MCMC}}(x)}{\mathrm{MCSE}(x)}

is standard normal where theory and posterior agree and the chains have converged. The generalisation error
:math:`\epsilon = (y - \bar f)^2 + \sigma^2`, averaged over the test set, is compared in the same way.
"""

from stpbnn.comparison.agreement import compare, compare_predictions
from stpbnn.comparison.calibration import calibration
from stpbnn.comparison.class_scoring import classes_of as classes_of
from stpbnn.comparison.class_scoring import columns_of as columns_of
from stpbnn.comparison.class_scoring import stored_labels as stored_labels
from stpbnn.comparison.estimates import posterior_draws as posterior_draws
from stpbnn.comparison.same_posterior import check_test_inputs as check_test_inputs
from stpbnn.comparison.spectrum import kernel_spectrum
from stpbnn.comparison.theory_predictions import predict_theories
from stpbnn.quoting import comparison_table, quote

__all__ = [
    "calibration",
    "compare",
    "compare_predictions",
    "comparison_table",
    "kernel_spectrum",
    "predict_theories",
    "quote",
]
