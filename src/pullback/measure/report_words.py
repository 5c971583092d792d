"""The prose of the page."""

HOW = """<ol class="steps">
<li>A diffusion model turns noise into a picture step by step. On the way, its innermost layer holds a compact description of the picture to come: the feature <em>h</em>.</li>
<li>For every sample we ask which small changes of the noisy picture move <em>h</em> the most: the leading singular vectors of that layer's Jacobian. Nobody says what to look for.</li>
<li>Directions that many samples share are averaged, and tried on samples that took no part. Move a slider, or drag across the pictures: one slider moves everyone in its row.</li>
</ol>"""
GLANCE = (
    "Agreement on held-out samples; the dark mark is the matched null. A bar that stops before its mark means nothing."
)
DIRECTIONS = "Scale 0 is the unedited sample. The coloured part of a slider is its usable range. Names are measured, not given; “unclear” means that nothing stands out."
EFFECTS = "Mean effect of scale {scale} on each known factor, in standard deviations, read off the edited pictures. A direction that means one thing has one coloured cell."
COMPARISON = "Every method gave the same number of directions and went through the same measurement. Ranges in small print are 95 % bootstrap intervals."
SPECTRA = "Singular values of the Jacobian: one thin line a sample, the median on top."
FACTORS = "Measured from the renderer's exact derivatives, before any edit. The mark on each bar is what a random space of the same size would hold."

WORDS = (
    (
        "h, the feature",
        "The output of the network's innermost block: everything the network knows about the picture passes through it in compact form.",
    ),
    (
        "Singular value s",
        "How far h moves when the noisy picture x moves by one unit along the direction. Large s: the network reacts strongly.",
    ),
    (
        "Agreement, and its matched null",
        "For samples that took no part in finding the direction: how close (|cos|, 0 to 1) their own nearest local direction comes to it. The mark is the 95 % of the same figure for directions rotated at random inside the same local spaces; a bar that does not pass the mark means nothing.",
    ),
    (
        "Scale",
        "Scale 1 moves h by a tenth of the distance between two random samples, so that scales of different directions can be compared.",
    ),
    (
        "Usable range",
        "The scales within which the edit still grows steadily and the model still takes the result for one of its pictures. Coloured on the slider.",
    ),
    ("Symmetry", "1 when −a does the opposite of +a, 0 when both do the same thing."),
    (
        "Nearly equal s",
        "Such directions can be mixed freely without changing what was measured: read them as a group.",
    ),
    (
        "Effect",
        "How much a known factor changes along a direction, in standard deviations of that factor, read off the edited pictures by a regressor.",
    ),
    (
        "Gain and recall",
        "Gain above 1: h weighs this factor more than pixels do. Recall: the share of the factor's true tangent inside the space of the directions found; its null is what a random space of the same size would hold.",
    ),
)
"""What each term means: a line to click on, and the explanation under it."""
