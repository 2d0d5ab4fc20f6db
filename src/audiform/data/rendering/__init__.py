"""Songs rendered from single sounds: what there is to learn from where few songs have open stems.

``plan`` draws what a song is (style, tempo, form, harmony, who plays when, how it is mixed), the
files beside it play one instrument each, ``mix`` and ``chain`` do what a studio does, ``song``
joins them, and ``folder`` writes many songs side by side. All that is random comes from the seed
and the song's number.
"""
