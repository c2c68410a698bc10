"""The paper's data pipeline: sources and a teacher in, SFT and RL files out.

recipe → records → sources → overlap → sample → prompts, teacher, journal → traces → assign → write,
joined by build. Nothing here trains.
"""
